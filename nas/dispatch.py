"""Every operator that torch runs inside a block of code, shown to one function."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

Call = Callable[[Any, Sequence[Any], Mapping[str, Any]], Any]


def run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call an operator as it is."""
    return func(*args, **kwargs)


class Operators(TorchDispatchMode):
    """Context whose operators are called by a function.

    Args:
        call: takes an operator, its arguments and its keyword arguments, and returns its result.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Do without the guard against `torch.compile`: torch takes seconds to import it."""
        return False

    def __init__(self, call: Call) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._call = call

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """See `TorchDispatchMode`."""
        return self._call(func, args, kwargs or {})
