"""Worker processes that end with the process that began them, also if that is killed."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

_LOOK = 1.0  # seconds between looks at the parent


def process_pool(workers: int, begin: Callable[..., None], *arguments: Any) -> ProcessPoolExecutor:
    """Return fresh processes (CUDA cannot be shared with a fork); a context.

    Args:
        workers: of the pool.
        begin: called first in each.
        arguments: of `begin`.
    """
    return ProcessPoolExecutor(
        workers, get_context("spawn"), _begin, (os.getpid(), begin, arguments)
    )


def _begin(parent: int, begin: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    begin(*arguments)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)
