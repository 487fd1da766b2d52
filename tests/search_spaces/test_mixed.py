"""The mixed spaces: every published network is a point, every part fits every stage."""

import math
import random
from dataclasses import replace
from typing import ClassVar

import pytest
from torch import nn

from nas.cost_table import CostTable
from primitives.core.contract import BLOCKS, Knobs, block
from search_spaces import load, mixed, mixed3d
from search_spaces.core.arch import Arch, Stage
from search_spaces.core.network import build
from search_spaces.core.options import label, options
from search_spaces.core.space import Point, Space
from search_spaces.nets.mixed import dimensions

HOMES = [
    (space, home)
    for space, homes in ((mixed.SPACE, mixed.HOMES), (mixed3d.SPACE, mixed3d.HOMES))
    for home in homes
]
UNEXPRESSED = {"unet-plus-plus-resnet34"}
# Five levels of 16 and more channels, all blocks identities with a stem and changes that widen.
PLAIN: Point = {
    **mixed.SPACE.baselines["cmunext"].point,
    "skip": "concat-project",
    "down": "strided-conv",
    "up": "linear-conv",
}


def arch_of(**changes: object) -> Arch:
    return mixed.SPACE.arch({**PLAIN, **changes})  # type: ignore[dict-item]


def names_of(stage: Stage) -> list[str]:
    return [spec.name for spec in (stage.block, *stage.after)]


@pytest.mark.parametrize(("space", "home"), HOMES, ids=lambda s: getattr(s, "name", s))
def test_published_networks_have_the_key_of_their_own_space(space: Space, home: str) -> None:
    published = load(home).baselines
    for name in published.keys() - UNEXPRESSED:
        ours, theirs = space.baselines[name], published[name]
        for classes in (1, 4):
            key = load(home).arch(theirs.point, 1, classes).key
            assert space.arch(ours.point, 1, classes).key == key, name
        assert replace(ours, point=theirs.point, seed=theirs.seed) == theirs
    assert UNEXPRESSED.isdisjoint(space.baselines)


def test_seeds_are_small() -> None:
    for space, count in ((mixed.SPACE, 5), (mixed3d.SPACE, 3)):
        seeds = [space.arch(baseline.point) for _, baseline in space.seeds()]
        assert len(seeds) == count
        for arch in seeds:
            assert sum(p.numel() for p in build(arch).parameters()) < 2e6


@pytest.mark.parametrize("layout", ["skip-after-down", "skip-before-down", "bridged"])
@pytest.mark.parametrize("option", options("stage", 2))
def test_any_block_fits_any_stage(option: str, layout: str) -> None:
    name, widths = option.partition(" ")[0], {"width": 16, "growth": "1-2-4-8-16-16"}
    for side, levels in {"encoder": range(2, 6), "decoder": range(1, 5)}.items():
        for level in levels:
            changes = {f"{side}_block_{level}": option, "layout": layout}
            arch = arch_of(**widths, **changes)
            index = level - 1 if side == "encoder" else -level
            stage = getattr(arch, side)[index]
            if name == "identity":  # where the channels change at no other place
                assert names_of(stage)[0] in (name, "double-conv")
            else:
                assert name in names_of(stage)
                # A knob without effect, as the channels between equal ones, is reset.
                assert name == "lfwf-mlp" or label(stage.block, 2) in (option, name)


def test_stages_have_their_own_settings() -> None:
    arch = arch_of(
        **{f"encoder_block_{i}": "mkir" for i in (2, 3)},
        **{"encoder_kernels_2": "3-5", "encoder_kernels_3": "1-7"},
        **{"encoder_expansion_2": 6, "encoder_expansion_3": 1},
        **{"encoder_depth_2": 1, "encoder_depth_3": 2},
    )
    settings = [(dict(s.block.knobs)["kernels"], s.depth) for s in arch.encoder[1:3]]
    assert settings == [("3-5", 1), ("1-7", 2)]
    assert [dict(s.block.knobs)["expansion"] for s in arch.encoder[1:3]] == [6, 1]


def test_a_setting_that_a_block_lacks_becomes_the_nearest() -> None:
    stage = arch_of(encoder_block_2="ds", encoder_kernels_2="5-7-9-11", encoder_expansion_2=6)
    assert dict(stage.encoder[1].block.knobs)["kernel"] == 11
    assert dict(stage.encoder[1].block.knobs)["expansion"] == 4


@pytest.mark.parametrize(
    ("level", "found"), [(1, ("0:1", 1)), (2, ("3:1", 4)), (3, ("3:1", 2)), (4, ("3:1", 1))]
)
def test_attention_sees_short_sequences(level: int, found: tuple[str, int]) -> None:
    side = {f"encoder_block_{level}": "gms", "encoder_gms_tc": "3:1", "encoder_gms_patch": 1}
    knobs = dict(arch_of(**side).encoder[level - 1].block.knobs)
    assert (knobs["tc"], knobs["patch"]) == found


def test_a_merge_that_widens_gives_way_where_nothing_narrows_it() -> None:
    before = {"layout": "skip-before-down", "first_skip": "same"}
    assert arch_of(skip="ag-concat", **before).skip.name == "ag-concat"
    after = {"layout": "skip-after-down", "first_skip": "same"}
    assert arch_of(skip="ag-concat", **after).skip.name == "concat-project"
    assert arch_of(skip="gag", **after).skip.name == "gag"


@pytest.mark.parametrize("stem", options("stem", 2))
@pytest.mark.parametrize("layout", ["skip-after-down", "skip-before-down", "nested", "bridged"])
def test_the_head_undoes_the_stem(stem: str, layout: str) -> None:
    if stem not in mixed.SPACE.dimensions["stem"].values:
        assert stem == "med-stem"  # no head upsamples by four
        return
    for head in mixed.SPACE.dimensions["head"].values:
        arch = arch_of(stem=stem, layout=layout, head=head, levels=6)
        assert arch.head.stride == arch.stem.stride * (2 if layout == "bridged" else 1)
        assert 32 % arch.multiple == 0


@pytest.mark.parametrize(
    ("changes", "dimension"),
    [
        ({}, "encoder_mkir_mode"),  # no such block
        ({}, "encoder_attention_6"),
        ({}, "encoder_expansion_6"),
        ({}, "sa_kernel"),
        ({}, "ca_ratio"),
        ({}, "head"),
        ({"mixer": "none"}, "encoder_mixers"),
        ({"encoder_block_2": "residual"}, "encoder_kernels_2"),
        ({"encoder_block_2": "cmrf"}, "encoder_expansion_2"),
        ({"layout": "nested"}, "first_skip"),
        ({"layout": "bridged"}, "skip"),
        ({"layout": "nested"}, "decoder_attention_2"),
        ({"layout": "nested"}, "last_width"),
        ({"encoder_block_4": "gms", "encoder_gms_tc": "0:1"}, "encoder_gms_heads"),
        ({"decoder_block_2": "double-conv between=in", "levels": 3}, "decoder_block_3"),
    ],
)
def test_a_dimension_without_effect_vanishes(changes: Point, dimension: str) -> None:
    values = mixed.SPACE.dimensions[dimension].values
    assert len({arch_of(**changes, **{dimension: v}).key for v in values}) == 1
    assert len(values) > 1


def test_a_first_skip_like_the_others_is_the_same() -> None:
    same, named = arch_of(first_skip="same", skip="gag"), arch_of(first_skip="gag", skip="gag")
    assert same.key == named.key != arch_of(first_skip="add", skip="gag").key


def test_a_new_block_joins_by_its_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primitives.core.contract.BLOCKS", BLOCKS)
    caches = (options, dimensions)
    try:

        @block("brand-new", role="stage")
        class BrandNew(nn.Conv2d):
            knobs: ClassVar[Knobs] = {"kernel": (3, 13), "taste": ("sweet", "sour")}

        for cache in caches:
            cache.cache_clear()
        found = dimensions()
        assert "brand-new" in found["decoder_block_3"].values
        assert "13" in found["encoder_kernels_2"].values
        assert found["encoder_brand-new_taste"].values == ("sweet", "sour")
    finally:
        del BLOCKS["brand-new"]
        for cache in caches:
            cache.cache_clear()


@pytest.mark.slow
def test_sizes_of_random_networks_cover_the_range() -> None:
    rng, table = random.Random(1), CostTable(32)
    bins = [0] * 8  # half a decade each, from 10^4 to 10^8 parameters
    for _ in range(200):
        params, _ = table.costs(mixed.SPACE.arch(mixed.SPACE.sample(rng)))
        size = math.log10(params)
        bins[min(7, max(0, int(2 * (size - 4))))] += 1
    assert max(bins) < 0.3 * 200
    assert min(bins[:7]) > 0.03 * 200
