"""Files that are either whole or absent, and disks that are full."""

import errno
import os
import sqlite3
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write a temporary neighbour of `path`, then put it in place.

    Raises:
        OSError: it could not be written; the neighbour is removed and an older file stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that no space is left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, sqlite3.Error) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            return True
        error = error.__cause__
    return False
