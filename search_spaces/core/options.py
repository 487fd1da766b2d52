"""What the table of blocks offers a space that chooses among all of them."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product

from primitives.core.contract import Value, find_block, load_blocks
from search_spaces.core.arch import BlockSpec
from search_spaces.core.space import Choice

# Setting of a stage -> what the knobs of stage blocks that mean it are called.
SHARED: Mapping[str, tuple[str, ...]] = {
    "kernels": ("kernels", "kernel"),
    "expansion": ("expansion", "ffn_ratio"),
    "depth": ("repeats", "depth"),
}
SETTING = {knob: name for name, knobs in SHARED.items() for knob in knobs}
DERIVED = ("side",)  # knobs that follow from the place
_ELSEWHERE = ("gelu", "norm-gelu", "classifier")  # have one place, or another task


@cache
def options(role: str, ndim: int) -> Mapping[str, BlockSpec]:
    """Return the choices of a role by label, e.g. "concat first=x": blocks with the knobs chosen.

    Of a stage block that is its only knob unless that is a shared one, of others all knobs.
    """
    found = {}
    for block in load_blocks().values():
        if block.role != role or ndim not in block.ndims or block.name in _ELSEWHERE:
            continue
        knobs = {k: block.knobs[k] for k in _chosen(block.name)}
        for values in product(*knobs.values()):
            given = dict(zip(knobs, values, strict=True))
            changed = [f" {k}={v}" for k, v in given.items() if v != knobs[k][0]]
            found[block.name + "".join(changed)] = BlockSpec.of(block.name, **given)
    return found


def label(spec: BlockSpec, ndim: int) -> str:
    """Return which option a block is; "" if none."""
    knobs = dict(spec.knobs)
    for name, option in options(find_block(spec.name).role, ndim).items():
        chosen = {k: v for k, v in option.knobs if k in _chosen(spec.name)}
        if option.name == spec.name and chosen.items() <= knobs.items():
            return name
    return ""


def _chosen(block: str) -> list[str]:
    """Return the knobs that an option of a block sets."""
    knobs = [k for k in find_block(block).knobs if k not in DERIVED]
    if find_block(block).role != "stage":
        return knobs
    return [k for k in knobs if k not in SETTING] if len(knobs) == 1 else []


def stage_dimensions(
    side: str, levels: int, ndim: int, **others: tuple[Value, ...]
) -> dict[str, Choice]:
    """Return the dimensions of the stages of a side.

    Args:
        side: what their names begin with.
        levels: stages, numbered from 1.
        ndim: 2 or 3.
        others: further settings of each stage and their values.

    Returns:
        Per stage its block and each shared setting; per block each other knob, once for the side.
    """
    stages = options("stage", ndim)
    blocks = list(dict.fromkeys(spec.name for spec in stages.values()))
    each = {"block": tuple(stages)} | {name: _values(name, blocks) for name in SHARED} | others
    found = {f"{side}_{name}_{i}": v for name, v in each.items() for i in range(1, levels + 1)}
    for block in blocks:
        idle = (*SETTING, *DERIVED, *_chosen(block))
        knobs = {k: v for k, v in find_block(block).knobs.items() if k not in idle}
        found |= {f"{side}_{block}_{knob}": values for knob, values in knobs.items()}
    return {name: Choice(*values) for name, values in found.items()}


def _values(setting: str, blocks: Sequence[str]) -> tuple[Value, ...]:
    """Return all values that stage blocks have for a shared setting; kernels are text."""
    tables = [
        values
        for block in blocks
        for knob, values in find_block(block).knobs.items()
        if SETTING.get(knob) == setting
    ]
    found = dict.fromkeys(value for table in tables for value in table)
    return tuple(dict.fromkeys(map(str, found)) if setting == "kernels" else sorted(found, key=int))


def nearest_value(values: Sequence[Value], wanted: Value) -> Value:
    """Return the value with the nearest largest number, then with as many; "3-5" has two."""

    def distance(value: Value) -> tuple[int, int]:
        a, b = ([int(n) for n in str(v).split("-")] for v in (value, wanted))
        return abs(max(a) - max(b)), abs(len(a) - len(b))

    return wanted if wanted in values else min(values, key=distance)
