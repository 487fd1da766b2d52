"""What an exported network brings along besides its layers; `nas.standalone` copies this source.

Only torch is imported here, and Pillow where an image is read or written.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "I64": torch.int64}


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a safetensors file: the header's length in 8 bytes, the header as JSON, raw numbers."""
    raw = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        data = raw[start + begin : start + end]
        tensors[name] = torch.frombuffer(data, dtype=_DTYPES[entry["dtype"]]).view(entry["shape"])
    return tensors


def read_image(path: str | Path, channels: int) -> Tensor:
    """Read an 8- or 16-bit grey or an 8-bit colour file; drop alpha, repeat grey if need be.

    Returns:
        (1, channels, H, W) in [0, 1].

    Raises:
        ValueError: a colour image for a network of grey images.
    """
    from PIL import Image

    with Image.open(path) as file:
        deep = file.mode.startswith("I")  # 16 bit
        grey = file.mode in ("1", "L", "LA")
        image = file.convert("I" if deep else "L" if grey else "RGB")
    dtype, top = (torch.int32, 65535) if deep else (torch.uint8, 255)
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=dtype)
    x = flat.view(image.height, image.width, -1).permute(2, 0, 1)[None].float() / top
    if channels == 1 and not torch.equal(x, x[:, :1].expand_as(x)):
        raise ValueError(f"{path} is in colour, the network takes grey images; convert it to grey")
    return x[:, :1] if channels == 1 else x.expand(-1, channels, -1, -1)


@torch.inference_mode()
def segment(net: nn.Module, image: Tensor, preprocess: Mapping[str, Any]) -> Tensor:
    """Return the label of each pixel of an image of any size.

    Args:
        net: in eval mode.
        image: (1, C, H, W) in [0, 1].
        preprocess: the content of preprocess.json.

    Returns:
        (H, W) uint8: labels, or 0 and 1 for a network of one class.
    """
    height, width = image.shape[2:]
    if preprocess["fit"] == "resize":
        side = preprocess["size"]
        x = F.interpolate(image, (side, side), mode="bilinear", antialias=True).clamp(0, 1)
    else:
        multiple = preprocess["multiple"]
        x = F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
    mean, std = (torch.tensor(preprocess[k]).view(1, -1, 1, 1) for k in ("mean", "std"))
    logits: Tensor = net((x - mean) / std)
    if preprocess["fit"] == "resize":
        logits = F.interpolate(logits, (height, width), mode="bilinear")
    logits = logits[0, :, :height, :width]
    if len(logits) == 1:
        return logits[0].sigmoid().gt(preprocess["threshold"]).byte()
    return logits.argmax(0).byte()


def write_mask(labels: Tensor, path: str | Path, classes: int) -> None:
    """Save labels as a grey image; with one class, 255 marks it."""
    from PIL import Image

    pixels = (labels * 255 if classes == 1 else labels).flatten().tolist()
    Image.frombytes("L", (labels.shape[1], labels.shape[0]), bytes(pixels)).save(path)
