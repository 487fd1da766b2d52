"""How weights start: the published schemes. `build` applies them, blocks only name one."""

from collections.abc import Callable, Mapping

from torch import nn


def _default(module: nn.Module) -> None:
    """Keep what the framework's constructors drew."""


def _normal_002(module: nn.Module) -> None:
    """Fill convolutions from N(0, 0.02^2), biases with 0, norms with 1 and 0 (UltraLightUNet)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


INITS: Mapping[str, Callable[[nn.Module], None]] = {
    "default": _default,
    "normal-0.02": _normal_002,
}
