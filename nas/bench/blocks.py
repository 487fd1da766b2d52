"""How fast blocks and their parts are, against the obvious other form, on one CPU thread.

All forms of a case take turns within one run, so that what else the machine does meets all of them,
and the clock is the thread's CPU time, which stands still while another program has the core.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

from nas.bench.alternatives import PARTS, Form, Part
from nas.folder import Progress
from nas.latency.measure import cpu_threads, describe_rig
from nas.tables import table
from primitives.core.contract import Block, load_blocks
from primitives.core.errors import InvalidInput, nearest

BATCH = 2
WIDTHS = (16, 64, 128)
SIDES: Mapping[int, tuple[int, ...]] = {2: (64, 32, 16), 3: (24, 12, 6)}  # ndim -> for each width
FORMATS = {2: torch.channels_last, 3: torch.contiguous_format}  # that ratios are taken to
OTHER_FORMATS = {2: torch.contiguous_format, 3: torch.channels_last_3d}
NAMES = {
    torch.channels_last: "channels last",
    torch.channels_last_3d: "channels last",
    torch.contiguous_format: "contiguous",
}
_NOTHING_TO_TIME = ("as-is", "identity")  # they return their input
_ROLES_NOT_TIMED = ("encoder",)  # as many forms as the library has backbones
_CPU = torch.device("cpu")
_WARMUP, _MIN_ROUNDS = 2, 5
_MAX_SECONDS = 5.0  # of one case

Shapes = Sequence[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and the 10 % and 90 % quantiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise two values or more."""
        deciles = statistics.quantiles(values, n=10, method="inclusive")
        return cls(statistics.median(values), deciles[0], deciles[-1])

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True, slots=True)
class Runner:
    """One form of a case, ready to be timed: what to call, on what, and in which memory format."""

    name: str
    form: Form
    net: nn.Module
    maps: list[Tensor]
    layout: torch.memory_format

    @classmethod
    def of(
        cls, name: str, form: Form, net: nn.Module, shapes: Shapes, layout: torch.memory_format
    ) -> "Runner":
        """Draw inputs that need gradients, as inside a network."""
        maps = [torch.randn(shape).to(memory_format=layout).requires_grad_() for shape in shapes]
        return cls(name, form, _formatted(net, layout), maps, layout)

    def time_ms(self) -> tuple[float, float]:
        """Return the milliseconds of one forward and one backward pass."""
        for tensor in (*self.maps, *self.net.parameters()):
            tensor.grad = None
        start = time.thread_time()
        out = self.form(*self.maps)
        if out.ndim == self.maps[0].ndim:  # what comes next wants the format of training
            out = out.contiguous(memory_format=self.layout)
        forward = time.thread_time() - start
        gradient = torch.ones_like(out)
        start = time.thread_time()
        out.backward(gradient)
        return forward * 1e3, (time.thread_time() - start) * 1e3


@dataclass(frozen=True, slots=True)
class Case:
    """A block or a part; `make` takes width and side and returns its forms, ours first."""

    name: str
    ours: str
    ndim: int
    make: Callable[[int, int], list[Runner]]


def bench_blocks(
    names: Sequence[str], repeats: int, progress: Progress
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Time forward and backward passes of blocks and parts at three widths and sides.

    The alternative of a whole block is the other memory format.

    Args:
        names: of blocks or parts; none means all.
        repeats: rounds of a case, at least two; one that takes more than 5 s may end after five.
        progress: called after each case.

    Returns:
        The rig and one row for each alternative of each case; ratios are its time / ours, paired
        by round.

    Raises:
        InvalidInput: there is no block or part of a name.
    """
    cases = _chosen(names)
    rows: list[dict[str, Any]] = []
    with cpu_threads(1):
        for i, case in enumerate(cases):
            for width, side in zip(WIDTHS, SIDES[case.ndim], strict=True):
                torch.manual_seed(0)
                runners = case.make(width, side)
                shape = list(runners[0].maps[0].shape)
                about = {"name": case.name, "ours": case.ours, "shape": shape}
                rows += [about | row for row in _rows(runners, _times(runners, repeats))]
            progress("timing", i + 1, len(cases))
    return describe_rig(_CPU, 1), rows


def block_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the rows of `bench_blocks` as a table."""
    columns = (
        *("block or part", ">input", "ours", ">forward ms", ">backward ms"),
        *("other form", ">forward ratio", ">backward ratio", ">both"),
    )
    cells = (
        (
            *(row["name"], "x".join(map(str, row["shape"])), row["ours"]),
            *(str(Spread(**row[f"{key}_ms"])) for key in ("forward", "backward")),
            row["other"],
            *(str(Spread(**row[f"{key}_ratio"])) for key in ("forward", "backward", "both")),
        )
        for row in rows
    )
    title = "CPU time of one thread, median [10 %, 90 %]; ratio: other form / ours, paired by round"
    return table(title, columns, cells)


def _times(runners: Sequence[Runner], repeats: int) -> list[list[tuple[float, float]]]:
    """Return forward and backward times of each runner; they take turns, in both orders."""
    for runner in runners:
        for _ in range(_WARMUP):
            runner.time_ms()
    times: list[list[tuple[float, float]]] = [[] for _ in runners]
    end = time.thread_time() + _MAX_SECONDS
    order = list(range(len(runners)))
    for done in range(repeats):
        if done >= _MIN_ROUNDS and time.thread_time() > end:
            break
        for i in order:
            times[i].append(runners[i].time_ms())
        order.reverse()
    return times


def _rows(
    runners: Sequence[Runner], times: Sequence[Sequence[tuple[float, float]]]
) -> Iterator[dict[str, Any]]:
    """Yield one row for each form but the first."""
    forward, backward, both = _split(times[0])
    for runner, pairs in zip(runners[1:], times[1:], strict=True):
        others = _split(pairs)
        ratios = [
            Spread.of([b / a for a, b in zip(mine, other, strict=True)])
            for mine, other in zip((forward, backward, both), others, strict=True)
        ]
        yield {
            "other": runner.name,
            "rounds": len(forward),
            "forward_ms": asdict(Spread.of(forward)),
            "backward_ms": asdict(Spread.of(backward)),
            "forward_ratio": asdict(ratios[0]),
            "backward_ratio": asdict(ratios[1]),
            "both_ratio": asdict(ratios[2]),
        }


def _split(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float], list[float]]:
    return [f for f, _ in pairs], [b for _, b in pairs], [f + b for f, b in pairs]


def _chosen(names: Sequence[str]) -> list[Case]:
    cases = [*_parts(), *_blocks()]
    known = [case.name for case in cases]
    for name in names:
        if name not in known:
            raise InvalidInput(
                f"block must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}"
            )
    return [case for case in cases if not names or case.name in names]


def _parts() -> Iterator[Case]:
    for name, part in PARTS.items():
        yield Case(name, part.ours, part.ndim, partial(_part_runners, part))


def _part_runners(part: Part, width: int, side: int) -> list[Runner]:
    forms = part.make(width, side)
    shapes = [(BATCH, width, *[side] * part.ndim)] * part.inputs
    layout = FORMATS[part.ndim]
    first = Runner.of(part.ours, forms.ours, forms.net, shapes, layout)
    return [first, *(replace(first, name=n, form=f) for n, f in forms.others.items())]


def _blocks() -> Iterator[Case]:
    for name, block in load_blocks().items():
        if name in _NOTHING_TO_TIME or block.role in _ROLES_NOT_TIMED:
            continue
        for ndim in block.ndims:
            title = name if ndim == 2 else f"{name} 3d"
            yield Case(title, NAMES[FORMATS[ndim]], ndim, partial(_block_runners, block, ndim))


def _block_runners(block: Block, ndim: int, width: int, side: int) -> list[Runner]:
    given, built = _channels(block.role, width)
    knobs = {"ndim": 3} if ndim == 3 else {}
    shapes = [(BATCH, channels, *[side] * ndim) for channels in given]
    runners = []
    for layout in (FORMATS[ndim], OTHER_FORMATS[ndim]):
        net = block.module(*built, **knobs)
        runners.append(Runner.of(NAMES[layout], net, net, shapes, layout))
    return runners


def _channels(role: str, width: int) -> tuple[list[int], list[int]]:
    """Return the channels of a block's inputs, and what it is made with."""
    return {
        "stem": ([3], [3, width]),
        "attention": ([width], [width]),
        "skip": ([width, width], [width, width]),
        "bridge": ([width, width, 1], [width, width, 1]),
        "head": ([width], [width, 1]),
        "ensemble": ([width, width], [width, width, 1]),
    }.get(role, ([width], [width, width]))


def _formatted(net: nn.Module, layout: torch.memory_format) -> nn.Module:
    """Bring the kernels into a format; one of volumes does not suit kernels of maps."""
    for tensor in net.parameters():
        if tensor.ndim == (4 if layout == torch.channels_last else 5):
            tensor.data = tensor.data.contiguous(memory_format=layout)
    return net
