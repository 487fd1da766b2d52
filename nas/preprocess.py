"""What preprocess.json says: how a file becomes the input of an exported network."""

from typing import Any

from nas.data import Prepared
from nas.score import OVERLAP


def describe_preprocess(prepared: Prepared, multiple: int, invert_masks: bool) -> dict[str, Any]:
    """Return the content of preprocess.json."""
    binary = prepared.classes == 1
    return {
        "in_channels": prepared.in_channels,
        **(_of_images(prepared) if prepared.ndim == 2 else _of_volumes(prepared)),
        "fit": prepared.fit,
        "size": prepared.size,
        "multiple": multiple,
        "classes": prepared.classes,
        "class_order": ["foreground"] if binary else list(range(prepared.classes)),
        "activation": "sigmoid" if binary else "softmax",
        "threshold": 0.5 if binary else None,
        "invert_masks": invert_masks,
    }


def _of_images(prepared: Prepared) -> dict[str, Any]:
    resized = prepared.fit == "resize"
    return {
        "channel_order": "grey"
        if prepared.in_channels == 1
        else "RGB, grey repeated, alpha dropped",
        "scale": {"8 bit": 255, "16 bit": 65535},
        "resize": "bilinear, antialiased, to size x size" if resized else None,
        "mean": list(prepared.mean),
        "std": list(prepared.std),
    }


def _of_volumes(prepared: Prepared) -> dict[str, Any]:
    return {
        "axes": "D left to right, H back to front, W bottom to top (RAS)",
        "scale": "each volume: cut at its 0.5 and 99.5 % quantiles, minus mean, over deviation",
        "spacing": list(prepared.spacing),
        "resize": "trilinear to the spacing (mm), where it differs by more than 1 %",
        "overlap": OVERLAP,
    }
