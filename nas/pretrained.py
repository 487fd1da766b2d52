"""Published weights of backbones: the driver of a search finds or fetches them, a training loads.

Building a network never loads any, so costing, drawing, reading stored weights and exporting need
no network.
"""

import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from primitives.core.errors import InvalidInput
from primitives.timm_encoder import TimmEncoder, published_state
from search_spaces.core.arch import Arch, BlockSpec

_SECONDS = 5.0  # that the server has to answer
_WAY_OUT = "run once online, or set HF_HOME to a cache that holds them"


def wants(arch: Arch) -> str | None:
    """Return the backbone that starts from published weights, None if the arch has none."""
    knobs = dict(arch.stem.knobs)
    return str(knobs["backbone"]) if knobs.get("pretrained") else None


class Published:
    """Which published weights can be had; decided once for each backbone of a search.

    Args:
        tell: called with one line when the first ones cannot.
    """

    def __init__(self, tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr)):
        self._tell = tell
        self._there: dict[str, bool] = {}
        self._online: bool | None = None

    def usable(self, arch: Arch) -> Arch:
        """Return the arch; if its weights cannot be had the one that starts from random weights."""
        backbone = wants(arch)
        if backbone is None:
            return arch
        if backbone not in self._there:
            self._there[backbone] = self._have(backbone)
            if list(self._there.values()).count(False) == 1 and not self._there[backbone]:
                self._tell(
                    f"published weights of {backbone} cannot be had: it and others like it start "
                    f"from random weights and are recorded with pretrained=False; {_WAY_OUT}"
                )
        if self._there[backbone]:
            return arch
        knobs = dict(arch.stem.knobs) | {"pretrained": False}
        return replace(arch, stem=BlockSpec.of(arch.stem.name, **knobs))

    def _have(self, backbone: str) -> bool:
        if find_weights(backbone) is not None:
            return True
        from huggingface_hub import constants

        if self._online is None:
            self._online = not constants.HF_HUB_OFFLINE and _answers(constants.ENDPOINT)
        return self._online and find_weights(backbone, fetch=True) is not None


def find_weights(backbone: str, *, fetch: bool = False) -> Path | None:
    """Return the file of a backbone's published weights in the cache, None if it is not there.

    Args:
        backbone: a name of timm.
        fetch: download it where it is missing.
    """
    import huggingface_hub  # these two take seconds, and most searches do without
    import timm

    published = timm.get_pretrained_cfg(backbone)
    if published is None or not published.hf_hub_id:
        return None
    name = published.hf_hub_filename or huggingface_hub.constants.SAFETENSORS_SINGLE_FILE
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                published.hf_hub_id, name, local_files_only=not fetch, etag_timeout=_SECONDS
            )
        )
    except OSError:  # not in the cache, no such file, no connection
        return None


def load_published(net: nn.Module, arch: Arch) -> None:
    """Replace the weights of a net's backbone by the published ones if its arch asks for them.

    Raises:
        InvalidInput: they are not in the cache.
    """
    backbone = wants(arch)
    if backbone is None:
        return
    file = find_weights(backbone)
    if file is None:
        from huggingface_hub import constants

        raise InvalidInput(
            f"published weights of {backbone!r} must be in {constants.HF_HUB_CACHE}, they are not; "
            f"{_WAY_OUT}"
        )
    encoder = net.get_submodule("stem")
    assert isinstance(encoder, TimmEncoder)
    encoder.features.load_state_dict(published_state(encoder, backbone, file))


def _answers(url: str) -> bool:
    """Whether a server answers soon; the library's own tries take half a minute."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_SECONDS):
            return True
    except urllib.error.HTTPError:  # an answer
        return True
    except OSError:
        return False
