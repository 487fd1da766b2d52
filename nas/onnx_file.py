"""Writing a network as ONNX and running it."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from search_spaces.core.arch import Arch

OPSET = 20


def write_onnx(
    net: nn.Module,
    arch: Arch,
    path: Path,
    facts: Mapping[str, Any],
    shape: Sequence[int] | None = None,
) -> None:
    """Write one file that maps `image` to `logits`.

    Args:
        net: in eval mode.
        arch: of the net.
        path: of the file.
        facts: kept in the file's metadata, each as JSON unless it is text.
        shape: of all images, (N, C, H, W), which is just as fast and takes a third of the time to
            write; without it their number and sides stay free.
    """
    example, free = (torch.zeros(*shape), None) if shape else _free_input(arch)
    program = torch.onnx.export(
        net,
        (example,),
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=free,
    )
    assert program is not None
    for node in program.model.graph:
        node.metadata_props.clear()  # stack traces, with paths of this machine
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in facts.items()}
    program.model.metadata_props.update(texts)
    program.save(path, external_data=False)


def _free_input(arch: Arch) -> tuple[Tensor, tuple[dict[int, Any]]]:
    """Return an example of an input, and which of its axes are free."""
    # Tracing fixes sides of 1, so the deepest feature map must be larger.
    sides = [k * arch.multiple for k in (2, 3, 4)[: arch.ndim]]
    example = torch.zeros(2, arch.in_channels, *sides)
    # Sides that are known to divide stay exact through every halving and cutting of patches.
    parts = {axis: arch.multiple * Dim(f"parts_{axis}") for axis in range(2, example.ndim)}
    return example, ({0: Dim("images"), **parts},)


def open_onnx(path: Path, threads: int = 1) -> Any:
    """Return a session of ONNX Runtime for a file on so many CPU threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    """Return the forward pass of a file in ONNX Runtime on one CPU thread."""
    session = open_onnx(path)

    def forward(x: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"image": x.numpy()})
        return torch.from_numpy(logits)

    return forward
