"""UltraLightUNet as a space.

Every choice of the reference's ablations varies: widths, depth, expansion, kernel sets and
attention per stage, skip gate, and the modes of the multi-kernel filter. Fixed: pooling,
upsampling, one supervised head.
"""

from primitives.core.contract import Value
from search_spaces.core.space import Baseline, Point, Space
from search_spaces.nets.ultralight import BASE, DIMENSIONS, LEVELS, decode

_NO_ATTENTION = {f"decoder_attention_{level}": "none" for level in LEVELS}
_BOTH_ATTENTION = {f"encoder_attention_{level}": "ca-sa" for level in LEVELS}
_RULE = (
    "multiply-adds of a module-hook counter at 256x256, with norms, activations, biases and all "
    "four heads"
)


def _kernels(kernels: str) -> dict[str, Value]:
    return {
        f"{side}_kernels_{level}": kernels for side in ("encoder", "decoder") for level in LEVELS
    }


def _published(
    table: str, params: str, cost: str, changes: Point, *, seed: bool = False, golden: str = "no"
) -> Baseline:
    point = {**BASE, **changes}
    # The program also runs three 1x1 heads with bias on decoder outputs and drops the results.
    heads = sum(stage.width + 1 for stage in decode(point).decoder[1:4])
    return Baseline(point, table, params, cost, _RULE, heads, seed, golden=golden)


_KERNEL_ROWS = {  # Table 5: params, multiply-adds; 1-3-5 is base
    "1": ("0.272M", "0.220G"),
    "1-1": ("0.275M", "0.229G"),
    "3": ("0.281M", "0.239G"),
    "1-3": ("0.284M", "0.248G"),
    "1-1-3": ("0.288M", "0.257G"),
    "3-3": ("0.294M", "0.267G"),
    "1-3-3": ("0.297M", "0.276G"),
    "5": ("0.299M", "0.276G"),
    "1-5": ("0.303M", "0.286G"),
    "3-3-3": ("0.306M", "0.295G"),
    "3-5": ("0.312M", "0.304G"),
    "1-3-5": ("0.316M", "0.314G"),
    "5-5": ("0.331M", "0.342G"),
    "5-5-5": ("0.362M", "0.408G"),
}
_SHORT = {"growth": "1-2-4-6-8"}

SPACE = Space(
    name="ultralight",
    source="UltraLightUNet / MK-UNet (Rahman and Marculescu, ICCV workshops 2025)",
    dimensions=DIMENSIONS,
    decode=decode,
    multiple=32,
    baselines={
        "ultralight-t": _published(
            "Table 1", "0.027M", "0.062G", {"width": 4, **_SHORT}, seed=True
        ),
        "ultralight-s": _published(
            "Table 1", "0.093M", "0.125G", {"width": 8}, seed=True, golden="yes"
        ),
        "ultralight-base": _published("Table 1", "0.316M", "0.314G", {}, seed=True, golden="yes"),
        "ultralight-m": _published("Table 1", "1.15M", "0.951G", {"width": 32}, seed=True),
        "ultralight-l": _published(
            "Table 1", "3.76M", "3.19G", {"width": 64, **_SHORT}, seed=True, golden="yes"
        ),
        "ultralight-mobile-unet": _published(
            "Tables 4, 6", "0.271M", "0.230G", {"gate": "add", **_NO_ATTENTION, **_kernels("3")}
        ),
        "ultralight-mkir": _published(
            "Tables 4, 6", "0.306M", "0.300G", {"gate": "add", **_NO_ATTENTION}
        ),
        "ultralight-mkir-gag": _published("Table 4", "0.310M", "0.311G", _NO_ATTENTION),
        "ultralight-mkir-mkira": _published("Table 4", "0.311M", "0.303G", {"gate": "add"}),
        "ultralight-mkira-encoder": _published("Table 7", "0.321M", "0.346G", _BOTH_ATTENTION),
        "ultralight-ag": _published("Table 8", "0.326M", "0.320G", {"gate": "ag"}),
        **{
            f"ultralight-k{kernels}": _published(
                "Table 5", *printed, _kernels(kernels), golden="yes" if kernels == "3-5" else "no"
            )
            for kernels, printed in _KERNEL_ROWS.items()
        },
    },
)
