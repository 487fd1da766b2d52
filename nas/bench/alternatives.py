"""Parts of blocks that have an obvious other form, and that form, for `nas bench blocks`.

Both compute the same function of the same weights. Ours is the primitive itself; the others are
written here on their own, so they check the primitives too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, cat, nn
from torch.nn import functional as F

from primitives.attention import ChannelAttention
from primitives.core.layers import ChannelNorm, channel_shuffle, depthwise_conv, segment_sizes
from primitives.ege import LinearHead
from primitives.gates import ConcatProject
from primitives.lgms import Attention, LocalBlock
from primitives.mednext import AxisMixing, LinearAttention
from primitives.mkir import MultiKernelDepthwise
from primitives.rolling import roll_each
from primitives.uconvnext import BranchWeights, roll_segments
from primitives.unext import shift

Form = Callable[..., Tensor]
_CONV: Mapping[int, Form] = {2: F.conv2d, 3: F.conv3d}


@dataclass(frozen=True, slots=True)
class Forms:
    """Ways to compute one function.

    Attributes:
        net: owner of the weights that all use.
        ours: the primitive.
        others: the alternatives, named in words; they take and return the same tensors.
    """

    net: nn.Module
    ours: Form
    others: Mapping[str, Form]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of blocks with alternatives.

    Attributes:
        ours: the primitive in words.
        make: channels and side of the input -> the forms.
        inputs: maps of that shape that the forms take.
        ndim: 2 for maps, 3 for volumes.
    """

    ours: str
    make: Callable[[int, int], Forms]
    inputs: int = 1
    ndim: int = 2


def _local_block(ndim: int) -> Callable[[int, int], Forms]:
    def make(channels: int, side: int) -> Forms:
        net = LocalBlock(channels, (3, 5, 7, 9), ndim)

        def padded(x: Tensor) -> Tensor:
            filters: list[nn.Module] = list(net.filters)
            kernel, bias = cat([_padded(f, 9) for f in filters]), cat([_bias(f) for f in filters])
            filtered = _CONV[ndim](x, kernel, bias, padding=4, groups=channels)
            return x + net.restore(net.reduce(net.norm(x + filtered)))

        return Forms(net, net, {"one 9x9 convolution, kernels padded": padded})

    return make


def _bare_branches(ndim: int) -> Callable[[int, int], Forms]:
    def make(channels: int, side: int) -> Forms:
        net = MultiKernelDepthwise(
            channels, (1, 3, 5), series=False, concat=False, act=None, ndim=ndim
        )

        def merged(x: Tensor) -> Tensor:
            one, three, five = (_padded(branch, 5) for branch in net.branches)
            return _CONV[ndim](x, one + three + five, padding=2, groups=channels)

        return Forms(net, net, {"one convolution, sum of padded kernels": merged})

    return make


def _padded(conv: nn.Module, side: int) -> Tensor:
    kernel = conv.weight  # gets zeros around it
    assert isinstance(kernel, Tensor)
    return F.pad(kernel, [(side - kernel.shape[-1]) // 2] * 2 * (kernel.ndim - 2))


def _bias(conv: nn.Module) -> Tensor:
    assert isinstance(conv.bias, Tensor)
    return conv.bias


def _channel_scale(ndim: int) -> Callable[[int, int], Forms]:
    def make(channels: int, side: int) -> Forms:
        net = depthwise_conv(channels, 1, ndim=ndim)

        def conv(x: Tensor) -> Tensor:
            return _CONV[ndim](x, net.weight, net.bias, groups=channels)

        return Forms(net, net, {"depthwise convolution": conv})

    return make


def _depthwise(kernel: int) -> Callable[[int, int], Forms]:
    def make(channels: int, side: int) -> Forms:
        net = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        return Forms(net, net, {"contiguous map": lambda x: net(x.contiguous())})

    return make


def _shuffle(channels: int, side: int) -> Forms:
    groups = channels // 2
    order = torch.tensor([(j % groups) * 2 + j // groups for j in range(channels)])
    return Forms(
        nn.Identity(),
        lambda x: channel_shuffle(x, groups),
        {
            "view, transpose, reshape": lambda x: (
                x.unflatten(1, (groups, 2)).transpose(1, 2).reshape(x.shape)
            ),
            "index of channels": lambda x: x[:, order],
        },
    )


def _roll_segments(axis: int) -> Callable[[int, int], Forms]:
    def make(channels: int, side: int) -> Forms:
        def sliced(x: Tensor) -> Tensor:
            moved = []
            for k, chunk in enumerate(x.split(segment_sizes(channels, 5), 1)):
                by = (k - 2) % side
                ends = (chunk.narrow(axis, side - by, by), chunk.narrow(axis, 0, side - by))
                moved.append(cat(ends, axis))
            return cat(moved, 1)

        def rolled(x: Tensor) -> Tensor:
            chunks = x.split(segment_sizes(channels, 5), 1)
            return cat([torch.roll(chunk, k - 2, axis) for k, chunk in enumerate(chunks)], 1)

        others = {"torch.roll of segments of NCHW": rolled, "slices and concatenation": sliced}
        return Forms(nn.Identity(), lambda x: roll_segments(x, axis, 5, 1), others)

    return make


def _shift(channels: int, side: int) -> Forms:
    def published(x: Tensor) -> Tensor:
        chunks = F.pad(x, (2, 2, 2, 2)).split(segment_sizes(channels, 5), 1)
        moved = cat([torch.roll(chunk, k - 2, 2) for k, chunk in enumerate(chunks)], 1)
        return moved.narrow(2, 2, side).narrow(3, 2, side)

    return Forms(nn.Identity(), lambda x: shift(x, 2, 5), {"pad, torch.roll, narrow": published})


def _roll_each(channels: int, side: int) -> Forms:
    def published(x: Tensor) -> Tensor:
        return cat([torch.roll(channel, i, 2) for i, channel in enumerate(x.split(1, 1))], 1)

    def indexed(x: Tensor) -> Tensor:
        channel, place = torch.arange(channels), torch.arange(side)
        return x[:, channel[:, None], (place - channel[:, None]) % side]

    others = {"torch.roll of each channel": published, "index": indexed}
    return Forms(nn.Identity(), lambda x: roll_each(x, 2, 1), others)


def _axis_mixing(channels: int, side: int) -> Forms:
    net = AxisMixing(channels, "resize", side)

    def channels_last(x: Tensor) -> Tensor:
        y = x.movedim(1, -1)  # (N, H, W, C)
        rows = (net.rows @ y.flatten(2)).view(y.shape)
        return net.join(cat([rows, net.columns @ y], -1).movedim(-1, 1))

    def einsum(x: Tensor) -> Tensor:
        rows = torch.einsum("gh,nchw->ncgw", net.rows, x)
        return net.join(cat([rows, torch.einsum("vw,nchw->nchv", net.columns, x)], 1))

    def conv(x: Tensor) -> Tensor:
        rows = F.conv2d(x.transpose(1, 2), net.rows[..., None, None]).transpose(1, 2)
        columns = F.conv2d(x.transpose(1, 3), net.columns[..., None, None]).transpose(1, 3)
        return net.join(cat([rows, columns], 1))

    others = {"products of NHWC": channels_last, "einsum": einsum, "1x1 convolution": conv}
    return Forms(net, net, others)


def _norm(channels: int, side: int) -> Forms:
    net = ChannelNorm(channels)

    def written(x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        spread = (centred.square().mean(1, keepdim=True) + net.eps).rsqrt()
        return centred * spread * net.weight.view(-1, 1, 1) + net.bias.view(-1, 1, 1)

    return Forms(net, net, {"mean and variance written out": written})


def _attention(channels: int, side: int) -> Forms:
    net = Attention(channels, 4, 8)

    def tokens(x: Tensor) -> Tensor:  # as many as patches of side 2 have: (N, L, C)
        return x[..., ::2, ::2].flatten(2).transpose(1, 2)

    def written(x: Tensor) -> Tensor:
        qkv = net.to_qkv(net.norm(tokens(x))).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
        query, key, value = qkv  # (N, heads, L, head_width) each
        found = (query @ key.mT / 8**0.5).softmax(-1) @ value
        return net.project(found.transpose(1, 2).flatten(2))

    return Forms(net, lambda x: net(tokens(x)), {"softmax written out": written})


def _linear_attention(channels: int, side: int) -> Forms:
    net = LinearAttention(channels, scaled=True)

    def first(x: Tensor) -> Tensor:
        key = net.key(x).flatten(2).softmax(2).view(x.shape)
        return net.leave(net.query(x).softmax(1) * key * (channels * side**2))

    return Forms(net, net, {"softmax of NCHW": first})


def _branch_weights(channels: int, side: int) -> Forms:
    net = BranchWeights(channels, 3, 4, pooled=False)

    def first(x: Tensor) -> Tensor:
        return net.layers(x).unflatten(1, (3, channels)).softmax(1).transpose(0, 1)

    def written(x: Tensor) -> Tensor:
        a, b, c = net.layers(x).chunk(3, 1)
        peak = torch.maximum(torch.maximum(a, b), c)
        a, b, c = (a - peak).exp(), (b - peak).exp(), (c - peak).exp()
        total = a + b + c
        return torch.stack([a / total, b / total, c / total])

    return Forms(net, net, {"softmax of NCHW": first, "exponentials written out": written})


def _global_pool(channels: int, side: int) -> Forms:
    net = ChannelAttention(channels)

    def pooled(x: Tensor) -> Tensor:
        mean, peak = F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)
        hidden = [net.restore(net.relu(net.reduce(summary))) for summary in (mean, peak)]
        return x * (hidden[0] + hidden[1]).sigmoid()

    return Forms(net, net, {"adaptive pooling": pooled})


def _linear_head(channels: int, side: int) -> Forms:
    net = LinearHead(channels, 1)
    enlarge = nn.UpsamplingBilinear2d(scale_factor=2)
    return Forms(net, net, {"upsample, then project": lambda x: net.conv(enlarge(x))})


def _concat_project(channels: int, side: int) -> Forms:
    net = ConcatProject(channels, channels)

    def added(x: Tensor, skip: Tensor) -> Tensor:
        of_skip, of_x = net.conv.weight.split(channels, 1)
        return F.conv2d(skip, of_skip, net.conv.bias) + F.conv2d(x, of_x)

    return Forms(net, net, {"sum of two convolutions": added})


PARTS: Mapping[str, Part] = {
    "lms block": Part("four convolutions of channel groups", _local_block(2)),
    "lms block 3d": Part("four convolutions of channel groups", _local_block(3), ndim=3),
    "bare branches": Part("depthwise 1, 3 and 5, added", _bare_branches(2)),
    "bare branches 3d": Part("depthwise 1, 3 and 5, added", _bare_branches(3), ndim=3),
    "depthwise 1x1": Part("product with the weights", _channel_scale(2)),
    "depthwise 1x1x1 3d": Part("product with the weights", _channel_scale(3), ndim=3),
    "depthwise 3x3": Part("channels-last map", _depthwise(3)),
    "depthwise 7x7": Part("channels-last map", _depthwise(7)),
    "channel shuffle": Part("torch's channel_shuffle", _shuffle),
    "roll of segments, rows": Part("torch.roll of segments of NHWC", _roll_segments(2)),
    "roll of segments, columns": Part("torch.roll of segments of NHWC", _roll_segments(3)),
    "shift with zeros": Part("pad, narrow, concatenate", _shift),
    "roll of each channel": Part("gather", _roll_each),
    "axis mixing": Part("products of NCHW", _axis_mixing),
    "channel norm": Part("layer norm of NHWC", _norm),
    "attention": Part("scaled_dot_product_attention", _attention),
    "linear attention": Part("softmax of NHWC", _linear_attention),
    "branch weights": Part("softmax of NHWC", _branch_weights),
    "channel attention": Part("mean and maximum", _global_pool),
    "linear head": Part("project, then upsample", _linear_head),
    "concat and project": Part("one convolution", _concat_project, inputs=2),
}
