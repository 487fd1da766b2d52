"""The classic U-nets as a space: nine families, their widths, and the few knobs that they have."""

from collections.abc import Callable, Mapping

from primitives.core.contract import Value
from search_spaces.core.arch import Arch
from search_spaces.core.space import Baseline, Choice, Int, Point, Space
from search_spaces.nets import classic

_PUBLISHED = (64, 128, 256, 512, 1024)
_PLANS = {"base": (16, 32, 128, 160, 256), "doubling": (16, 32, 64, 128, 256)}
_FAMILIES: Mapping[str, Callable[[Point], Arch]] = {
    "unet": lambda p: classic.unet(
        _widths(p, _PUBLISHED), block=str(p["encoder"]), stages=_migrated(p, 5)
    ),
    "attention-unet": lambda p: classic.unet(
        _widths(p, _PUBLISHED), skip="ag-concat", block=str(p["encoder"]), stages=_migrated(p, 5)
    ),
    "unet-plus-plus": lambda p: classic.unet_plus_plus(_widths(p, (32, 64, 128, 256, 512))),
    "unet-plus-plus-resnet34": lambda p: classic.resnet_unet_plus_plus(_widths(p, (64,))[0]),
    "tinyunet": lambda p: classic.tinyunet(
        _widths(p, (64, 128, 256, 512), 16), block=str(p["encoder"]), stages=_migrated(p, 4)
    ),
    "cmunext": lambda p: classic.cmunext(
        _widths(p, _PLANS[str(p["plan"])]),
        repeats=(1, 1, 1, int(p["repeats"]), int(p["repeats_bottom"])),
        kernels=(3, 3, int(p["kernel"]), int(p["kernel"]), int(p["kernel_bottom"])),
    ),
    "unext": lambda p: classic.unext(
        _widths(p, _PLANS[str(p["plan"])]), segments=int(p["segments"])
    ),
    "rolling-unet": lambda p: classic.rolling_unet(
        _widths(p, (16, 32, 64, 128, 256)), dropout=float(p["dropout"])
    ),
    "ege-unet": lambda p: classic.ege_unet(_widths(p, (8, 16, 24, 32, 48, 64))),
}

DIMENSIONS: Mapping[str, Choice | Int] = {
    "family": Choice(*_FAMILIES),
    "scale": Choice("1", "1/16", "1/8", "1/4", "3/8", "1/2", "3/4", "2"),
    "encoder": Choice("double-conv", "lms"),
    "migrated": Int(1, 4),
    "plan": Choice(*_PLANS),
    "kernel": Choice(7, 3, 5, 9, 11),
    "kernel_bottom": Choice(7, 3, 5, 9, 11),
    "repeats": Choice(1, 2, 3, 6),
    "repeats_bottom": Choice(1, 2, 3),
    "segments": Choice(5, 3, 7),
    "dropout": Choice(0.1, 0.0, 0.2, 0.3),
}


def decode(point: Point) -> Arch:
    """Return the arch of a point; each family has its own few dimensions."""
    return _FAMILIES[str(point["family"])](point)


def _widths(point: Point, published: tuple[int, ...], multiple: int = 8) -> tuple[int, ...]:
    """Scale published widths and round them to a multiple that all blocks accept."""
    over, _, under = str(point["scale"]).partition("/")
    if over == "1" and not under:
        return published
    factor = int(over) / int(under or 1)
    return tuple(multiple * max(1, round(width * factor / multiple)) for width in published)


def _migrated(point: Point, stages: int) -> int:
    """Return how many encoder stages have other blocks; the first never has."""
    return min(int(point["migrated"]), stages - 1) if point["encoder"] != "double-conv" else 0


_BASE: Point = {name: dimension.values[0] for name, dimension in DIMENSIONS.items()}
_RULE = "multiply-adds of thop at 256x256"


def _named(
    family: str,
    source: str,
    params: str = "-",
    cost: str = "-",
    *,
    seed: bool = False,
    golden: str = "no",
    discarded: int = 0,
    departures: str = "",
    **changes: Value,
) -> Baseline:
    point = {**_BASE, "family": family, **changes}
    return Baseline(
        point, source, params, cost, _RULE, discarded, seed, golden=golden, departures=departures
    )


SPACE = Space(
    name="unet",
    source="U-Net and the networks that LGMSNet and UltraLightUNet compare with",
    dimensions=DIMENSIONS,
    decode=decode,
    multiple=32,
    baselines={
        "ege-unet": _named(
            "ege-unet",
            "MICCAI 2023",
            "0.053M",
            "0.072G",
            seed=True,
            departures="the side maps are not returned",
        ),
        "unext-s": _named("unext", "MICCAI 2022", seed=True, plan="doubling", scale="1/2"),
        "unext": _named("unext", "MICCAI 2022", "1.47M", "0.57G", golden="yes"),
        "tinyunet": _named("tinyunet", "MICCAI 2024", "0.48M", "1.66G", seed=True, golden="yes"),
        "tinyunet-lms": _named("tinyunet", "LGMSNet, Table 6", "0.69M", encoder="lms", migrated=3),
        "cmunext": _named("cmunext", "ISBI 2024", "3.14M", "7.41G", golden="yes", repeats=3),
        "cmunext-s": _named(
            "cmunext",
            "ISBI 2024",
            "0.418M",
            "1.09G",
            seed=True,
            plan="doubling",
            scale="1/2",
            kernel_bottom=9,
        ),
        "cmunext-l": _named(
            "cmunext", "ISBI 2024", plan="doubling", scale="2", repeats=6, repeats_bottom=3
        ),
        "rolling-unet-s": _named(
            "rolling-unet", "AAAI 2024", "1.78M", "2.1G", seed=True, discarded=1024
        ),
        "rolling-unet-m": _named(
            "rolling-unet", "AAAI 2024", discarded=2048, scale="2", dropout=0.2
        ),
        "unet-light": _named("unet", "ours: 1/16 of the widths", seed=True, scale="1/16"),
        "unet": _named("unet", "MICCAI 2015", "34.52M", "65.52G", golden="yes"),
        "unet-lms": _named("unet", "LGMSNet, Table 6", "17.33M", encoder="lms", migrated=4),
        "attention-unet": _named("attention-unet", "MIDL 2018", "34.87M", "66.63G"),
        "unet-plus-plus": _named("unet-plus-plus", "DLMIA 2018", "9.16M", "34.65G"),
        "unet-plus-plus-resnet34": _named(
            "unet-plus-plus-resnet34", "LGMSNet, Table 1", "26.90M", "37.62G"
        ),
    },
)
