"""One device, many trainings or one stopwatch: a lock between processes of one machine.

Training holds the device shared, for one step at a time; a latency measurement holds it alone. The
locks are the kernel's, so a killed process lets go. A turnstile keeps trainings from starving the
stopwatch: it must be passed to take the device, and the stopwatch blocks it while it waits.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import torch


class DeviceSlot:
    """The lock of one device.

    Args:
        device: trainings on one GPU, or on the CPU of one machine, share a slot.
        folder: for the lock files; all processes of a user must name the same.
    """

    def __init__(self, device: "torch.device", folder: Path | None = None) -> None:
        stem = f"nas-{os.getuid()}-{_device_name(device)}"
        where = folder or Path(tempfile.gettempdir())
        self._gate = os.open(where / f"{stem}.gate", os.O_RDWR | os.O_CREAT, 0o600)
        self._slot = os.open(where / f"{stem}.slot", os.O_RDWR | os.O_CREAT, 0o600)

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the device beside other trainings."""
        with _locked(self._gate, fcntl.LOCK_SH):
            fcntl.flock(self._slot, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._slot, fcntl.LOCK_UN)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the device alone."""
        with _locked(self._gate, fcntl.LOCK_EX), _locked(self._slot, fcntl.LOCK_EX):
            yield

    def close(self) -> None:
        """Close the lock files."""
        os.close(self._gate)
        os.close(self._slot)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _locked(file: int, how: int) -> Iterator[None]:
    fcntl.flock(file, how)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _device_name(device: "torch.device") -> str:
    if device.type != "cuda":
        return device.type
    import torch

    return f"cuda-{torch.cuda.get_device_properties(device).uuid}"
