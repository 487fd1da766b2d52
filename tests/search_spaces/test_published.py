"""The published networks of all families: exact parameter counts, and golden values where known."""

from dataclasses import replace

import pytest
import torch

from search_spaces import load
from search_spaces.core.arch import Arch
from search_spaces.core.network import build
from search_spaces.nets import classic, med, uconvnext
from search_spaces.nets.lgms import lgms
from tests.search_spaces.golden import difference, recorded

WIDE = (32, 64, 128, 256, 512)
LGMS_3D = replace(lgms(ndim=3), in_channels=1, classes=14)
LGMS_3D_WIDTHS = (32, 64, 128, 160, 256)
# What the references measured on the published programs: live parameters, 3 in, 1 out.
COUNTS: dict[str, tuple[Arch, int]] = {
    "lgms": (lgms(), 2_321_393),
    "lgms four classes": (replace(lgms(), classes=4), 2_321_444),
    "lgms 3333": (lgms(kernels=("3-3-3-3",) * 3), 2_319_345),
    "lgms 1357": (lgms(kernels=("1-3-5-7",) * 3), 2_320_113),
    "lgms 5/7/9/11": (lgms(kernels=("5-7-9-11",) * 3), 2_323_185),
    "lgms 1:1": (lgms(tc=("1:1",) * 4), 2_254_705),
    "lgms 1:3": (lgms(tc=("1:3",) * 4), 2_188_017),
    "lgms transformer": (lgms(tc=("1:0",) * 4), 2_388_081),
    "lgms convolution": (lgms(tc=("0:1",) * 4), 2_120_433),
    "lgms half": (lgms((8, 16, 32, 64, 64)), 594_809),
    "lgms wide": (lgms((32, 64, 128, 160, 256)), 5_596_481),
    "lgms repeats": (lgms(repeats=(2, 1, 3)), 2_330_873),
    "lgms 3D": (LGMS_3D, 6_193_742),
    "lgms 3D L0": (replace(lgms(ndim=3, repeats=(1, 1, 3)), in_channels=1, classes=14), 6_227_854),
    **{
        f"lgms 3D L{n}": (
            replace(lgms(LGMS_3D_WIDTHS, ndim=3, repeats=(1, 1, n + 1)), in_channels=1, classes=14),
            params,
        )
        for n, params in ((1, 14_805_134), (2, 14_853_582))
    },
    "unet": (classic.unet(), 34_527_041),
    "unet + lms": (classic.unet(block="lms", stages=4), 17_330_081),
    "attention unet": (classic.unet(skip="ag-concat"), 34_878_573),
    "unet++": (classic.unet_plus_plus(), 9_163_329),
    "unet++ resnet34": (classic.resnet_unet_plus_plus(), 26_904_137),
    "tinyunet": (classic.tinyunet(), 481_105),
    "tinyunet + lms": (classic.tinyunet(block="lms", stages=3), 690_937),
    "cmunext": (classic.cmunext(), 3_149_185),
    "cmunext-s": (
        classic.cmunext((8, 16, 32, 64, 128), repeats=(1,) * 5, kernels=(3, 3, 7, 7, 9)),
        417_505,
    ),
    "cmunext-l": (classic.cmunext(WIDE, repeats=(1, 1, 1, 6, 3)), 8_286_721),
    "unext": (classic.unext(), 1_471_921),
    "unext-s": (classic.unext((8, 16, 32, 64, 128)), 253_561),
    "ege-unet": (classic.ege_unet(), 53_374),
    "rolling-unet-s": (classic.rolling_unet(), 1_782_161),
    "uconvnext": (uconvnext.uconvnext(), 1_756_649),
    "mednext": (med.mednext(), 10_724_598),
}
# Millions, as far as the references print them: networks that were built to the same description.
ROUNDED: dict[str, tuple[Arch, str]] = {
    "uconvnext two directions": (uconvnext.uconvnext(branches="hw"), "1.633"),
    "uconvnext 3x3": (uconvnext.uconvnext(kernels=(3,) * 5), "1.697"),
    "uconvnext 5x5": (uconvnext.uconvnext(kernels=(5,) * 5), "1.721"),
    "uconvnext 9x9": (uconvnext.uconvnext(kernels=(9,) * 5), "1.804"),
    "uconvnext plain sum": (uconvnext.uconvnext(fusion="sum"), "1.657"),
    "uconvnext no residual": (uconvnext.uconvnext(ds={"shortcut": "none"}), "1.667"),
    "uconvnext two FCs": (uconvnext.uconvnext(fc_depth=2), "1.955"),
    "uconvnext DS only": (uconvnext.uconvnext(places=()), "0.568"),
    "uconvnext 3x3 only": (uconvnext.uconvnext(places=(), ds={"filter": "plain"}), "0.788"),
    "uconvnext 3x3 and LFWF": (uconvnext.uconvnext(ds={"filter": "plain"}), "1.977"),
    "uconvnext paper's norms": (uconvnext.uconvnext(ds={"style": "paper"}), "1.751"),
    **{
        f"uconvnext scale {name}": (
            uconvnext.uconvnext(
                [int(factor * w) for w in uconvnext.PUBLISHED], **uconvnext.SCALE_VARIANT
            ),
            millions,
        )
        for name, factor, millions in (
            ("S", 0.5, "0.439"),
            ("base", 1, "1.658"),
            ("L", 2, "6.440"),
            ("XL", 4, "25.371"),
        )
    },
    "mednext 7 and 11": (med.mednext(med={"kernels": "7-11"}), "10.748"),
    "medunext 1,1,1": (med.medunext(depths=(1, 1, 1)), "33.97"),
    "medunext 2,1,2": (med.medunext(), "40.82"),
    "medunext 2,2,2": (med.medunext(depths=(2, 2, 2)), "54.49"),
    "medunext 16": (med.medunext((16, 32, 64, 128, 256), depths=(1, 1, 1)), "2.14"),
}
GOLDEN = {
    "lgms_2d": ("lgms", COUNTS["lgms"][0]),
    "lgms_3d": ("lgms", LGMS_3D),
    "unet": ("baselines", COUNTS["unet"][0]),
    "unext": ("baselines", COUNTS["unext"][0]),
    "cmunext": ("baselines", COUNTS["cmunext"][0]),
    "tinyunet": ("baselines", COUNTS["tinyunet"][0]),
}
HEAVY = ("unet", "lgms_3d")
# Published parameters of the 3D sizes, 8 classes.
ULTRALIGHT_3D = {"t": 60_984, "s": 162_570, "base": 453_342, "m": 1_424_454, "l": 4_276_758}


def count(arch: Arch) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(arch).parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_live_parameters_are_the_published_ones_to_the_unit(name: str) -> None:
    arch, params = COUNTS[name]
    assert count(arch) == params


@pytest.mark.parametrize("name", ROUNDED)
def test_ablations_and_scales_have_the_parameters_of_the_reference(name: str) -> None:
    arch, millions = ROUNDED[name]
    digits = len(millions.partition(".")[2])
    assert f"{count(arch) / 1e6:.{digits}f}" == millions


@pytest.mark.parametrize("size", ULTRALIGHT_3D)
def test_ultralight_in_3d_has_the_published_sizes(size: str) -> None:
    space = load("ultralight3d")
    arch = space.arch(space.baseline(f"ultralight3d-{size}").point, 3, 8)
    assert count(arch) == ULTRALIGHT_3D[size]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in HEAVY else n for n in GOLDEN]
)
def test_output_equals_the_published_program(name: str) -> None:
    family, arch = GOLDEN[name]
    assert difference(build(arch), recorded(family)[name]) <= 1e-6


@pytest.mark.parametrize("size", ["base", "s"])
def test_ultralight_in_3d_computes_what_was_recorded(size: str) -> None:
    space = load("ultralight3d")
    arch = space.arch(space.baseline(f"ultralight3d-{size}").point, 3, 8)
    facts = recorded("ultralight3d")[f"ultralight3d-{size}"]
    assert difference(build(arch), facts) <= 1e-6
