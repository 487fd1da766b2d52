"""The latency of one network as a study asks for it; of a whole front at the end of a search."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from nas.evaluation import Latency
from nas.latency.measure import measure_latency, placed, rig_key, time_passes
from nas.latency.on_device import describe_rig
from nas.settings import Study
from nas.slot import DeviceSlot
from search_spaces.core.arch import Arch
from search_spaces.core.network import build

if TYPE_CHECKING:
    from nas.folder import Progress
    from nas.handle import StudyHandle


def time_network(net: nn.Module, arch: Arch, study: Study, slot: DeviceSlot) -> Latency:
    """Time a network at batch 1 in the runtime of a study, while no training of ours runs.

    Args:
        net: on the study's device.
        arch: of the net.
        study: its settings.
        slot: of the study's device.
    """
    shape = (1, arch.in_channels, *[study.size] * arch.ndim)
    if study.latency_runtime == "onnxruntime":
        return measure_onnx(net, arch, shape, threads=study.latency_threads, slot=slot)
    with slot.exclusive():
        return measure_latency(net, shape, threads=study.latency_threads)


def measure_onnx(
    net: nn.Module, arch: Arch, shape: Sequence[int], *, threads: int, slot: DeviceSlot
) -> Latency:
    """Export a network, and time it in ONNX Runtime as `measure.measure_latency` times torch.

    Args:
        net: on any device, in any mode; a copy on the CPU is exported.
        arch: of the net.
        shape: of the input, (N, C, H, W).
        threads: of the CPU.
        slot: held alone while the clock runs.
    """
    from nas.onnx_file import open_onnx, write_onnx  # takes a second that most workers do without

    copy = build(arch)
    copy.load_state_dict({name: value.cpu() for name, value in net.state_dict().items()})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(copy.eval(), arch, path, {"arch_key": arch.key}, shape)
        session = open_onnx(path, threads)
    image = np.random.default_rng(0).standard_normal(tuple(shape), np.float32)

    def one_pass() -> float:
        start = time.perf_counter()
        session.run(["logits"], {"image": image})
        return (time.perf_counter() - start) * 1e3

    with slot.exclusive():
        return time_passes(one_pass, rig=rig_key(describe_rig(threads)))


def time_front(handle: "StudyHandle", progress: "Progress") -> None:
    """Time the front's networks once more, end to end, and keep that with the study.

    Those that an earlier call has timed are left out, so that a call which was killed goes on.

    Args:
        handle: a study on this machine's rig.
        progress: called after each network.
    """
    study, done = handle.settings, handle.timed_again()
    device = torch.device(study.device)
    archs = {t.arch.key: t.arch for t in handle.front() if t.arch and t.arch.key not in done}
    with DeviceSlot(device) as slot:
        for i, (key, arch) in enumerate(archs.items(), 1):
            net = placed(build(arch), device, arch.ndim)
            done[key] = time_network(net, arch, study, slot)
            handle.store.add_latency(key, study.size, done[key])
            handle.keep_timed_again(done)
            progress("timing the front", i, len(archs))
