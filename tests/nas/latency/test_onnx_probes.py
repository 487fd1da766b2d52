"""Exported networks, timed here and by the script that lies beside them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nas.latency import on_device
from nas.latency.calibration import read_calibration
from nas.latency.measure import rig_key
from nas.latency.onnx_probes import export_probes, record_onnx
from nas.latency.record import Recording, Wanted
from nas.latency.timing import measure_onnx
from nas.slot import DeviceSlot
from primitives.core.errors import InvalidInput
from search_spaces.core.network import build
from tests.nas.searches import decode, point

SIZE = 32
PROBES = [Wanted("small", decode(point(width)), width < 8) for width in (4, 8, 12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("probes") / "made"
    export_probes(PROBES, SIZE, found, lambda *_: None)
    return found


@pytest.mark.slow
def test_exported_networks_are_timed_in_onnx_runtime(folder: Path) -> None:
    found = record_onnx(folder, None, threads=1, progress=lambda *_: None)
    assert [(p.space, p.arch, p.fitted) for p in found.probes] == [
        (w.space, w.arch, w.fitted) for w in PROBES
    ]
    assert all(0 < p.ms <= p.slowest_ms and p.passes >= 6 for p in found.probes)
    assert found.rig["runtime"] == "onnxruntime"
    assert not found.operators


@pytest.mark.slow
def test_a_device_needs_onnx_runtime_alone(folder: Path, tmp_path: Path) -> None:
    script = folder / "on_device.py"
    arguments = [str(script), "OUT.json"]
    run = (
        "import runpy, sys\n"
        "sys.modules['torch'] = None  # importing it fails\n"
        f"sys.argv = {arguments}\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-I", "-c", run]
    subprocess.run(command, cwd=tmp_path, env=clean, check=True, capture_output=True)
    data = json.loads((tmp_path / "OUT.json").read_text())
    found = Recording.from_json(data["recording"])
    assert [p.arch for p in found.probes] == [w.arch for w in PROBES]
    assert rig_key(dict(found.rig)) == rig_key(on_device.describe_rig(1))
    assert found.size == SIZE
    assert read_calibration(tmp_path / "OUT.json").model.predict(PROBES[0].arch) > 0


@pytest.mark.slow
def test_what_is_exported_already_is_kept(folder: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in folder.glob("*.onnx")}
    assert len(times) == 3
    export_probes(PROBES, SIZE, folder, lambda *_: None)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.onnx")} == times


def test_probes_of_another_size_are_refused(tmp_path: Path) -> None:
    (tmp_path / "probes.json").write_text('{"size": 64, "probes": []}')
    with pytest.raises(InvalidInput, match=r"size must be that of the probes in .*, 64, got 32"):
        record_onnx(tmp_path, SIZE, threads=1, progress=lambda *_: None)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"size": null}'])
def test_probes_that_cannot_be_read_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "probes.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"probes.json must be of .*, it cannot be read"):
        record_onnx(tmp_path, None, threads=1, progress=lambda *_: None)


@pytest.mark.parametrize(("probes", "lacks"), [("[]", "all"), ('[{"key": "abc"}]', "abc_64.onnx")])
def test_probes_without_their_files_are_refused(probes: str, lacks: str, tmp_path: Path) -> None:
    (tmp_path / "probes.json").write_text(f'{{"size": 64, "probes": {probes}}}')
    with pytest.raises(InvalidInput, match=f"it lacks {lacks}; make the probes again"):
        record_onnx(tmp_path, None, threads=1, progress=lambda *_: None)


@pytest.mark.slow
def test_a_network_is_timed_as_it_would_be_deployed() -> None:
    arch = PROBES[0].arch
    net = build(arch).train()
    with DeviceSlot(torch.device("cpu")) as slot:
        found = measure_onnx(net, arch, (1, 3, SIZE, SIZE), threads=1, slot=slot)
    assert found.low_ms <= found.latency_ms <= found.high_ms
    assert 20 <= found.repeats <= 400
    assert found.rig == rig_key(on_device.describe_rig(1))
    assert net.training
