"""What the commands share: one line and an exit code for every failure, options, types."""

import json
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
FAILED, MISUSED = 1, 2  # exit codes
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Commands(click.Group):
    """A group whose commands end in one line and exit code 2 or 1 where a user or the run fails."""

    group_class = type  # groups inside are of this class too

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run a command and exit with its code."""
        from primitives.core.errors import InvalidInput

        try:
            sys.exit(super().main(*args, **{**kwargs, "standalone_mode": False}) or 0)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(MISUSED)
        except click.ClickException as error:
            _fail(_usage(error), error.exit_code)
        except InvalidInput as error:
            _fail(str(error), MISUSED)
        except OSError as error:
            if error.filename is None:  # no file of the user's
                raise
            _fail(f"{error.filename} cannot be used: {str(error.strerror).lower()}", MISUSED)
        except click.Abort:
            _fail("interrupted", FAILED)


class Duration(click.ParamType[float]):
    """A time such as 90s, 30m or 2h, in seconds."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value))
        if match is None:
            self.fail(f"a time reads 90s, 30m, 2h or 1d, got {value!r}", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


def json_option(command: F) -> F:
    """Add --json to a reading command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def store_option(command: F) -> F:
    """Add --store to a command that reads a study."""
    text = "Folder of the store."
    return click.option("--store", default="nas-store", show_default=True, help=text)(command)


def device_option(command: F) -> F:
    """Add --device."""
    devices = click.Choice(["auto", "cpu", "cuda", "mps"])
    return click.option("--device", type=devices, help="[default: auto]")(command)


def echo_json(value: Any) -> None:
    """Print JSON to stdout."""
    click.echo(json.dumps(value, indent=2))


def _usage(error: click.ClickException) -> str:
    """Return a message of click as one of ours: lower case, one line, no full stop, the way out."""
    message, hint = " ".join(error.format_message().split()), ""
    if isinstance(error, click.NoSuchOption | click.exceptions.NoSuchCommand):
        from primitives.core.errors import nearest

        typed = error.message.split("'")[1]
        message, hint = error.message, nearest(typed, error.possibilities or ())
    message = message.rstrip(".")
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint += f"; see `{error.ctx.command_path} --help`"
    return message[:1].lower() + message[1:] + hint


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)
