"""Files that are either whole or absent."""

import os
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
