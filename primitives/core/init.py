"""How weights start: the published schemes. `build` applies them, blocks only name one."""

from collections.abc import Callable, Mapping
from math import sqrt

from torch import nn


def _default(module: nn.Module) -> None:
    """Keep what the framework's constructors drew."""


def _normal_002(module: nn.Module) -> None:
    """Fill convolutions from N(0, 0.02^2), biases with 0, norms with 1 and 0 (UltraLightUNet)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _tokens(module: nn.Module) -> None:
    """Fill linears from N(0, 0.02^2) cut at 2, convolutions from N(0, 2 / fan out), biases with 0.

    Source: the published UNeXt program, token stages.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
        elif isinstance(layer, nn.Conv2d | nn.Conv3d):
            taps = layer.weight[0, 0].numel()
            nn.init.normal_(layer.weight, std=sqrt(2 * layer.groups / (taps * layer.out_channels)))
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _fan_out(module: nn.Module) -> None:
    """Fill convolutions from N(0, 2 / fan out) (He et al., ICCV 2015; the residual networks)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


INITS: Mapping[str, Callable[[nn.Module], None]] = {
    "default": _default,
    "normal-0.02": _normal_002,
    "tokens": _tokens,
    "fan-out": _fan_out,
}
