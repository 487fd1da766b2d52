"""Files that grow by a line: a head that says what all lines share, then one JSON object a line.

A line that a killed writer left unfinished counts as absent, and is dropped by the next writer.
Processes that write to one file each hold `locked` meanwhile; the kernel lets go of a killed one.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from primitives.core.errors import InvalidInput

Line = dict[str, Any]


def read_lines(path: Path, version: int, command: str) -> tuple[Line, list[Line]]:
    """Return the head of a file and its other lines.

    Args:
        path: of the file.
        version: that its head must name.
        command: that makes such files, for messages.

    Raises:
        InvalidInput: the file is missing, or is none of this command and version.
    """
    try:
        text = path.read_text()
        head, *lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        found = head.get("version")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {str(error.strerror).lower()}") from None
    except (ValueError, AttributeError):
        raise not_of(path, command) from None
    if found != version:
        raise InvalidInput(f"{path} must be of version {version}, got {found}; make it anew")
    return head, lines


def not_of(path: Path, command: str) -> InvalidInput:
    """Return the error of a file that no such command made."""
    return InvalidInput(f"{path} must be a file of `{command}`, it is not; name another file")


def begin_lines(path: Path, head: Mapping[str, Any], command: str) -> list[Line]:
    """Make a file, or take up one with the same head, and return its lines.

    Raises:
        InvalidInput: the file has another head, or is something else.
        OSError: it cannot be written.
    """
    ours = json.loads(json.dumps(head))
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        if not path.stat().st_size:
            add_line(path, ours)
            return []
        theirs, lines = read_lines(path, head["version"], command)
        if theirs != ours:
            changed = [f"{k}={theirs.get(k)!r}, got {k}={ours.get(k)!r}" for k in theirs | ours
                       if theirs.get(k) != ours.get(k)]  # fmt: skip
            raise InvalidInput(f"{path} was made with {'; '.join(changed)}; name another file")
        whole = path.read_bytes()
        if not whole.endswith(b"\n"):
            os.truncate(path, whole.rfind(b"\n") + 1)
        return lines


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from writing to a file, which is made where there is none.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def add_line(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line, on the disk when this returns.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("a") as file:
        file.write(json.dumps(line, separators=(",", ":")) + "\n")
        file.flush()
        os.fsync(file.fileno())
