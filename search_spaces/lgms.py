"""LGMSNet as a space: kernel sets, T/C ratios, transformer, widths, what joins at the bottom."""

from primitives.core.contract import Value
from search_spaces.core.space import Baseline, Point, Space
from search_spaces.nets.lgms import BASE, DIMENSIONS, decode

_RULE = "multiply-adds of thop at 256x256, with norms and softmax, without attention products"


def _named(
    changes: Point, source: str, params: str = "-", cost: str = "-", **facts: Value
) -> Baseline:
    return Baseline({**BASE, **changes}, source, params, cost, _RULE, **facts)  # type: ignore[arg-type]


def _all(name: str, value: Value, count: int) -> dict[str, Value]:
    return {f"{name}_{i}": value for i in range(1, count + 1)}


SPACE = Space(
    name="lgms",
    source="LGMSNet (Dong et al., ECAI 2025)",
    dimensions=DIMENSIONS,
    decode=decode,
    multiple=32,
    baselines={
        "lgms": _named({}, "Table 1", "2.32M", "4.89G", seed=True, golden="yes"),
        "lgms-small": _named({"width": 8}, "ours: half the widths", seed=True),
        "lgms-wide": _named({"width": 32, "growth": "1-2-4-5-8"}, "ours: widths of the 3D L1"),
        **{
            f"lgms-k{kernels}": _named(_all("kernels", kernels, 3), "figure of kernel sets")
            for kernels in ("3-3-3-3", "1-3-5-7", "5-7-9-11")
        },
        **{
            f"lgms-tc-{name}": _named(
                _all("tc", tc, 4), "figure of T/C ratios", seed=name == "conv"
            )
            for name, tc in {
                "1-1": "1:1",
                "1-3": "1:3",
                "transformer": "1:0",
                "conv": "0:1",
            }.items()
        },
    },
)
