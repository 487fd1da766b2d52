"""The classic parts: stems, pooling, upsampling, double convolutions, heads.

Source: Rahman and Marculescu, UltraLightUNet / MK-UNet, ICCV workshops 2025, figure 2; Ronneberger
et al., U-Net, MICCAI 2015.
Reference code: the authors' published 2D program for the former, U-Bench for the latter.
Departures: none; the activation after upsampling is the program's, the figure does not show it.
"""

from typing import ClassVar

from torch import Tensor, nn

from primitives.core.contract import Given, Knobs, block, first, without
from primitives.core.errors import InvalidInput
from primitives.core.layers import CONV, MAX_POOL, TRANSPOSED, conv_bn, make_norm, upsample


def _repeated(knobs: Given, in_channels: int, width: int) -> int:
    return 3 if in_channels == 1 else in_channels


@block("repeat-grey", role="stem", leaves=_repeated)
class RepeatGrey(nn.Module):
    """Repeat a single channel three times; pass any other count on.

    Args:
        in_channels: channels of the input; `out_channels` says what comes out.
        width: not used.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, out_channels, *sides)
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)

    def __init__(self, in_channels: int, width: int, *, ndim: int = 2) -> None:
        super().__init__()
        self.repeats = 3 if in_channels == 1 else 1
        self.out_channels = in_channels * self.repeats

    def forward(self, x: Tensor) -> Tensor:
        """Repeat; shape as in the class."""
        return x.repeat(1, self.repeats, *[1] * (x.ndim - 2)) if self.repeats > 1 else x


@block("as-is", role="stem", leaves=first)
class AsIs(nn.Module):
    """Pass the input on.

    Args:
        in_channels: channels of the input.
        width: not used.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, in_channels, *sides)
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)

    def __init__(self, in_channels: int, width: int, *, ndim: int = 2) -> None:
        super().__init__()
        self.out_channels = in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Do nothing."""
        return x


@block("conv-stem", role="stem")
class ConvStem(nn.Module):
    """Convolution of side 3 with bias, norm, ReLU.

    Args:
        in_channels: channels of the input.
        width: channels of the output.
        norm: "batch", or "instance" without parameters.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, width, *sides)

    Raises:
        InvalidInput: the norm is unknown.
    """

    knobs: ClassVar[Knobs] = {"norm": ("batch", "instance")}
    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, width: int, *, norm: str = "batch", ndim: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            CONV[ndim](in_channels, width, 3, padding=1), make_norm(norm, width, ndim), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the convolution; shape as in the class."""
        return self.layers(x)


@block("identity", role="stage", leaves=first)
class Identity(nn.Module):
    """Pass the input on, for a level without blocks of its own.

    Args:
        in_channels: channels of the input.
        out_channels: of the stage; not used.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, in_channels, *sides)
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)

    def __init__(self, in_channels: int, out_channels: int, *, ndim: int = 2) -> None:
        super().__init__()
        self.out_channels = in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Do nothing."""
        return x


@block("max-pool", role="down", leaves=first)
class MaxPool(nn.Module):
    """Maximum of each window of side 2.

    Args:
        in_channels: channels of the input and the output.
        out_channels: of the stage; not used.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, in_channels, *(sides / 2))
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)

    def __init__(self, in_channels: int, out_channels: int, *, ndim: int = 2) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.pool = MAX_POOL[ndim](2)

    def forward(self, x: Tensor) -> Tensor:
        """Pool; shape as in the class."""
        return self.pool(x)


@block("max-pool-relu", role="down", leaves=first)
class MaxPoolReLU(nn.Module):
    """Maximum of each window of side 2, then ReLU, as UNeXt and UConvNeXt do.

    Args:
        in_channels: channels of the input and the output.
        out_channels: of the stage; not used.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, in_channels, *(sides / 2))
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)

    def __init__(self, in_channels: int, out_channels: int, *, ndim: int = 2) -> None:
        super().__init__()
        self.out_channels = in_channels
        self.layers = nn.Sequential(MAX_POOL[ndim](2), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Pool; shape as in the class."""
        return self.layers(x)


@block("bilinear-relu", role="up", leaves=first)
class BilinearReLU(nn.Module):
    """Linear upsampling by two (corners not aligned), then ReLU.

    Args:
        in_channels: channels of the input and the output.
        out_channels: of the stage; not used.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, in_channels, *(2 sides))
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)

    def __init__(self, in_channels: int, out_channels: int, *, ndim: int = 2) -> None:
        super().__init__()
        self.out_channels = in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Upsample; shape as in the class."""
        return upsample(x).relu()


@block("linear-conv", role="up")
class LinearConv(nn.Module):
    """Linear upsampling by two (corners not aligned), convolution of side 3, norm, ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        norm: "batch", or "instance" without parameters.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, out_channels, *(2 sides))

    Raises:
        InvalidInput: the norm is unknown.
    """

    knobs: ClassVar[Knobs] = {"norm": ("batch", "instance")}
    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(
        self, in_channels: int, out_channels: int, *, norm: str = "batch", ndim: int = 2
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            CONV[ndim](in_channels, out_channels, 3, padding=1),
            make_norm(norm, out_channels, ndim),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Upsample; shape as in the class."""
        return self.layers(upsample(x))


@block("nearest-conv", role="up")
class NearestConv(nn.Module):
    """Repeat each pixel twice along every side, convolution of side 3, batch norm, ReLU (U-Net).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, out_channels, *(2 sides))
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, out_channels: int, *, ndim: int = 2) -> None:
        super().__init__()
        conv = conv_bn(in_channels, out_channels, 3, 1, True, ndim)
        self.layers = nn.Sequential(nn.Upsample(scale_factor=2), *conv, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Upsample; shape as in the class."""
        return self.layers(x)


@block("transposed", role="up")
class Transposed(nn.Module):
    """Transposed convolution of side 2 and stride 2.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, out_channels, *(2 sides))
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, out_channels: int, *, ndim: int = 2) -> None:
        super().__init__()
        self.conv = TRANSPOSED[ndim](in_channels, out_channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample; shape as in the class."""
        return self.conv(x)


def _used(knobs: Given, in_channels: int, out_channels: int) -> Given:
    return without(knobs, "between") if in_channels == out_channels else knobs


@block("double-conv", role="stage", used=_used)
class DoubleConv(nn.Module):
    """Two convolutions of side 3, each with norm and ReLU (U-Net).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        between: channels between the two: "out" or "in", those of the output or the input.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, out_channels, *sides)

    Raises:
        InvalidInput: between is unknown.
    """

    knobs: ClassVar[Knobs] = {"between": ("out", "in")}
    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(
        self, in_channels: int, out_channels: int, *, between: str = "out", ndim: int = 2
    ) -> None:
        super().__init__()
        if between not in ("out", "in"):
            raise InvalidInput(f"between must be 'out' or 'in', got {between!r}")
        middle = out_channels if between == "out" else in_channels
        self.layers = nn.Sequential(
            *conv_bn(in_channels, middle, 3, 1, True, ndim),
            nn.ReLU(),
            *conv_bn(middle, out_channels, 3, 1, True, ndim),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply both; shape as in the class."""
        return self.layers(x)


@block("conv1x1", role="head")
class PointwiseHead(nn.Module):
    """One 1x1 convolution to logits.

    Args:
        in_channels: channels of the input.
        classes: channels of the output.
        ndim: 2 for maps, 3 for volumes.

    Shape: (N, in_channels, *sides) -> (N, classes, *sides)
    """

    ndims: ClassVar[tuple[int, ...]] = (2, 3)
    keeps: ClassVar[tuple[str, ...]] = ("width",)

    def __init__(self, in_channels: int, classes: int, *, ndim: int = 2) -> None:
        super().__init__()
        self.conv = CONV[ndim](in_channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits; shape as in the class."""
        return self.conv(x)
