"""The only place that assembles a network."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from primitives.core.contract import find_block
from primitives.core.errors import InvalidInput
from primitives.core.init import INITS
from search_spaces.core.arch import Arch, BlockSpec, Stage


def build(arch: Arch) -> nn.Module:
    """Return the network of an arch with freshly drawn weights, in training mode.

    Its forward maps (N, in_channels, H, W) to logits (N, classes, H, W); H and W must be multiples
    of `arch.multiple`.

    Raises:
        InvalidInput: a block refuses its channels or knobs.
    """
    return UNet(arch)


class UNet(nn.Module):
    """Encoder stages with a size change after each, decoder stages that work before they upsample.

    The skip of a level is the encoder feature *after* the size change. The last decoder stage
    ends at full resolution and has no skip.

    Shape: (N, in_channels, H, W) -> (N, classes, H, W)
    """

    def __init__(self, arch: Arch) -> None:
        super().__init__()
        _check_levels(arch)
        self.multiple = arch.multiple
        self.stem = make(arch.stem, arch.in_channels)
        first = int(self.stem.out_channels)  # type: ignore[arg-type]
        widths = [stage.width for stage in (*arch.encoder, *arch.decoder)]
        before = [first, *widths]
        levels = len(arch.encoder)
        self.shared = make(arch.shared, widths[0]) if arch.shared else None
        self.encoder = nn.ModuleList(
            UNetStage(stage, c, stage.width, arch.shared)
            for stage, c in zip(arch.encoder, before[:levels], strict=True)
        )
        self.downs = nn.ModuleList(make(arch.down, c, c) for c in widths[:levels])
        self.decoder = nn.ModuleList(
            UNetStage(stage, c, c, arch.shared)
            for stage, c in zip(arch.decoder, before[levels:-1], strict=True)
        )
        self.ups = nn.ModuleList(make(arch.up, c, c) for c in widths[levels:])
        self.skips = nn.ModuleList(make(arch.skip, c) for c in widths[levels:-1])
        self.head = make(arch.head, widths[-1], arch.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits; shape as in the class.

        Raises:
            InvalidInput: H or W is no multiple of `multiple`.
        """
        if any(side % self.multiple for side in x.shape[2:]):
            raise InvalidInput(
                f"input sides must be multiples of {self.multiple}, got {tuple(x.shape[2:])}"
            )
        x = self.stem(x)
        pooled = []
        for stage, down in zip(_stages(self.encoder), self.downs, strict=True):
            x = down(stage.attend(stage.blocks(x), self.shared))
            pooled.append(x)
        pooled.pop()  # the bottom: it is the decoder's input
        for i, (stage, up) in enumerate(zip(_stages(self.decoder), self.ups, strict=True)):
            x = up(stage.blocks(stage.attend(x, self.shared)))
            if pooled:
                x = self.skips[i](x, pooled.pop())
        logits: Tensor = self.head(x)
        return logits


def _stages(modules: nn.ModuleList) -> Iterable["UNetStage"]:
    return cast(Iterable[UNetStage], modules)


def _check_levels(arch: Arch) -> None:
    above = [stage.width for stage in arch.encoder[-2::-1]]
    met = [stage.width for stage in arch.decoder[:-1]]
    if met != above:
        raise InvalidInput(
            "decoder stages meet the skips of the level above, so their widths must be "
            f"{above}, got {met}"
        )


class UNetStage(nn.Module):
    """The blocks of one stage and its own attention; a shared attention belongs to the network.

    Args:
        stage: what to build.
        in_channels: channels of the first block's input.
        attended: channels that the attention sees.
        shared: the attention that is not built here.
    """

    def __init__(
        self, stage: Stage, in_channels: int, attended: int, shared: BlockSpec | None
    ) -> None:
        super().__init__()
        inputs = [in_channels, *[stage.width] * (stage.depth - 1)]
        self.blocks = nn.Sequential(*(make(stage.block, c, stage.width) for c in inputs))
        self.attention = nn.ModuleList(
            nn.Identity() if spec == shared else make(spec, attended) for spec in stage.attention
        )
        self._uses_shared = [spec == shared for spec in stage.attention]

    def attend(self, x: Tensor, shared: nn.Module | None) -> Tensor:
        """Apply the attention in order; the shape stays."""
        for attention, is_shared in zip(self.attention, self._uses_shared, strict=True):
            x = shared(x) if shared is not None and is_shared else attention(x)
        return x


def make(spec: BlockSpec, *channels: int) -> nn.Module:
    """Build one block and fill its weights by the scheme it names."""
    block = find_block(spec.name)
    module = block.module(*channels, **dict(spec.knobs))
    INITS[block.init](module)
    return module
