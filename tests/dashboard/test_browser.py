"""The pages as a browser shows them: a server in its own process, Chromium without a window."""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.dashboard.studies import write_study

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--virtual-time-budget=15000",
)
SERVE = "from dashboard.app import serve; import sys; serve(sys.argv[1], port=0, refresh_s=1)"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory, prepared):
    """Address of a served store whose pages are complete."""
    handle = write_study(tmp_path_factory.mktemp("served") / "store", prepared)
    command = [sys.executable, "-c", SERVE, str(handle.store.folder)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip().removesuffix("/dashboard/")
        try:
            wait_for_notes(url)
            yield url
        finally:
            server.terminate()


def wait_for_notes(url: str) -> None:
    for _ in range(120):
        study = json.loads(fetch(f"{url}/api/studies/1"))
        ended = [t for t in study["trials"] if t["state"] != "Running"]
        if all(t["note"]["body"] for t in ended) and len(study["plotly_graph_objects"]) == 3:
            return
        time.sleep(0.5)
    raise AssertionError("the server wrote no notes in a minute")


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def browse(tmp_path: Path, url: str, *flags: str) -> str:
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [str(CHROMIUM), *FLAGS, profile, *flags, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_list_names_the_study(tmp_path, address):
    page = browse(tmp_path, f"{address}/dashboard", "--dump-dom")
    assert "1. demo" in page
    assert "MAXIMIZE, MINIMIZE" in page


def test_study_page_shows_our_figures(tmp_path, address):
    page = browse(tmp_path, f"{address}/dashboard/studies/1", "--dump-dom")
    for title in ("Front: Dice over parameters", "Hypervolume of dice, params", "Learning curves"):
        assert title in page
    for label in ("base", "limit 500k", "infeasible", "published networks alone"):
        assert f">{label}</text>" in page


def test_study_note_shows_the_front(tmp_path, address):
    page = browse(tmp_path, f"{address}/dashboard/studies/1/note", "--dump-dom")
    assert "Study demo" in page
    assert re.search(r"<td[^>]*>params&lt;=0.5M", page)


def test_trial_page_shows_stages_costs_and_pictures(tmp_path, address):
    page = browse(tmp_path, f"{address}/dashboard/studies/1/trials?numbers=2", "--dump-dom")
    cells = re.findall(r"<td[^>]*>([^<]*)\N{EM SPACE}</td>", page)
    assert "315.5k" in cells
    at = cells.index("encoder 3")
    assert cells[at : at + 5] == ["encoder 3", "1/4", "64", "1", "mkir, kernels 1-3-5, expansion 2"]
    shown = set(re.findall(r'<img[^>]*src="(/artifacts/[^"]*)"', page))
    assert len(shown) == 2
    for picture in shown:
        assert fetch(address + picture).startswith(b"\x89PNG")


def test_pictures_of_a_trial_are_seen_within_the_page(tmp_path, address):
    path = tmp_path / "page.png"
    url = f"{address}/dashboard/studies/1/trials?numbers=2"
    browse(tmp_path, url, f"--screenshot={path}", "--window-size=1500,2400")
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert pixels.shape[:2] == (2400, 1500)
    for colour in ([0x00, 0xE0, 0x8A], [0xF7, 0xDD, 0xC8]):  # truth; decoder stages
        assert (np.abs(pixels - colour).max(2) < 24).sum() > 1000
