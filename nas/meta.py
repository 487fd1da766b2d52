"""Networks without memory: their shapes, and no values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_FACTORIES = {
    torch.arange,
    torch.as_tensor,
    torch.empty,
    torch.empty_strided,
    torch.eye,
    torch.full,
    torch.linspace,
    torch.ones,
    torch.rand,
    torch.randint,
    torch.randn,
    torch.randperm,
    torch.tensor,
    torch.zeros,
}
_FILLS = {
    Tensor.fill_,
    Tensor.normal_,
    Tensor.uniform_,
    Tensor.zero_,
    nn.init.constant_,
    nn.init.kaiming_normal_,
    nn.init.kaiming_uniform_,
    nn.init.normal_,
    nn.init.uniform_,
}


class OnMeta(TorchFunctionMode):
    """Context in which tensors are made on the meta device, and initial values are not drawn.

    The latter is most of the time that torch takes to make a small network, even without memory.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """See `TorchFunctionMode`."""
        given = dict(kwargs or {})
        if func in _FILLS:
            return args[0] if args else given["tensor"]
        if func in _FACTORIES and given.get("device") is None:
            given["device"] = "meta"
        return func(*args, **given)
