"""Trainings and stopwatches on one device, in processes of their own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from nas.slot import DeviceSlot

HOLD = """
import sys
from pathlib import Path
from types import SimpleNamespace
from nas.slot import DeviceSlot

slot = DeviceSlot(SimpleNamespace(type="cpu"), Path(sys.argv[1]))
with getattr(slot, sys.argv[2])():
    print("held", flush=True)
    sys.stdin.readline()
print("let go", flush=True)
sys.stdin.readline()
"""
TRAIN = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from nas.slot import DeviceSlot

slot = DeviceSlot(SimpleNamespace(type="cpu"), Path(sys.argv[1]))
print("training", flush=True)
while True:
    with slot.shared():
        time.sleep(0.02)
"""
Process = subprocess.Popen[str]


@contextmanager
def process(code: str, folder: Path, *arguments: str) -> Iterator[Process]:
    """Start a process, wait for its first line, end it afterwards."""
    command = [sys.executable, "-c", code, str(folder), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as started:
        assert started.stdout is not None
        assert started.stdout.readline()
        yield started
        started.kill()


def let_go(holder: Process) -> None:
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "let go\n"


TRY = """
import sys
from pathlib import Path
from types import SimpleNamespace
from nas.slot import DeviceSlot

slot = DeviceSlot(SimpleNamespace(type="cpu"), Path(sys.argv[1]))
print("started", flush=True)
with getattr(slot, sys.argv[2])():
    print("held", flush=True)
"""


@pytest.mark.parametrize(
    ("first", "second"),
    [("shared", "exclusive"), ("exclusive", "shared"), ("exclusive", "exclusive")],
)
def test_a_stopwatch_and_anything_else_wait_for_each_other(
    tmp_path: Path, first: str, second: str
) -> None:
    with process(HOLD, tmp_path, first) as holder, process(TRY, tmp_path, second) as waiting:
        assert waiting.stdout is not None
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=0.3)
        let_go(holder)
        assert waiting.stdout.readline() == "held\n"


def test_trainings_share_the_device(tmp_path: Path) -> None:
    with (
        process(HOLD, tmp_path, "shared") as holder,
        process(TRY, tmp_path, "shared") as other,
    ):
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert other.wait(timeout=10) == 0
        assert holder.poll() is None


def test_a_stopwatch_gets_its_turn_between_the_steps_of_trainings(tmp_path: Path) -> None:
    with (
        DeviceSlot(torch.device("cpu"), tmp_path) as slot,
        process(TRAIN, tmp_path) as one,
        process(TRAIN, tmp_path) as two,
    ):
        start = time.monotonic()
        for _ in range(5):
            with slot.exclusive():
                assert one.poll() is two.poll() is None
        assert time.monotonic() - start < 5, "steps take 0.02 s each"


@pytest.mark.parametrize("how", ["shared", "exclusive"])
def test_a_killed_process_lets_go(tmp_path: Path, how: str) -> None:
    with process(HOLD, tmp_path, how) as holder, process(TRY, tmp_path, "exclusive") as waiting:
        assert waiting.stdout is not None
        holder.kill()
        assert waiting.stdout.readline() == "held\n"


def test_an_error_lets_go(tmp_path: Path) -> None:
    with DeviceSlot(torch.device("cpu"), tmp_path) as slot:
        for hold in (slot.shared, slot.exclusive):
            with pytest.raises(ZeroDivisionError), hold():
                raise ZeroDivisionError
        with process(TRY, tmp_path, "exclusive") as other:
            assert other.wait(timeout=10) == 0
