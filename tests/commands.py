"""Commands run in this process, and folders for them to read."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

import nas.cli

SEARCH = "search --space ultralight --objective dice,params"
QUICK = f"{SEARCH} --constraint none"  # the default bound takes a second to find


def run(command: str) -> Result:
    result = CliRunner().invoke(nas.cli.main, shlex.split(command), prog_name="nas")
    crashed = result.exception is not None and not isinstance(result.exception, SystemExit)
    assert not crashed, f"{command}: {result.exception!r}"
    return result


def run_json(command: str) -> Any:
    result = run(f"{command} --json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def write_images(folder: Path, number: int, halved: int = 0) -> None:
    """Write noise with a bright square; the first masks are half as high as their images."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(number):
        mask = np.zeros((32, 32), np.uint8)
        mask[4:20, 4:20] = 255
        image = rng.integers(0, 255, mask.shape, np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{i:02}.png")
        Image.fromarray(mask[: 16 if i < halved else 32]).save(folder / "masks" / f"{i:02}.png")


def listing(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }
