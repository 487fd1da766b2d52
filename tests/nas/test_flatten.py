import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nas.flatten
from nas.flatten import Flat, Origin, flatten
from primitives.core.contract import load_blocks

HELPERS = '''
from math import gcd as divisor

from primitives.core.errors import InvalidInput


def scale(n: int) -> int:
    """Raise InvalidInput for a negative n."""
    if n < 0:
        raise InvalidInput("négatif")
    return divisor(n, 12)
'''
FIRST = """
from functools import cached_property
from {package}.helpers import scale as shrink

# How far to shift.
SHIFT = 1


def _check(n: int) -> int:
    return n + SHIFT


class First:
    @cached_property
    def value(self) -> int:
        return _check(shrink(8))  # shrink is an alias
"""
SECOND = """
from {package}.first import SHIFT
from {package}.helpers import scale

UNUSED = SHIFT


def _check(n: int) -> int:
    return n * 100 if n < 2 else _check(n - 2)


class Second:
    é = "é"; value = property(lambda self: _check(scale(9)))
"""


@pytest.fixture
def flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flat]:
    """A package of which two files each define a `_check` of their own."""
    package = "flatsample"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name, text in {"helpers": HELPERS, "first": FIRST, "second": SECOND}.items():
        (folder / f"{name}.py").write_text(text.replace("{package}", package), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(nas.flatten, "_OURS", (package,))
    from flatsample.first import First
    from flatsample.second import Second

    yield flatten([First, Second], taken=["Second"], imports=[Origin("json", "")])
    for module in [m for m in sys.modules if m.startswith(package)]:
        del sys.modules[module]


def run(flat: Flat) -> dict[str, object]:
    names: dict[str, object] = {}
    exec("\n".join([*flat.imports, *flat.definitions]), names)
    return names


def test_equal_names_of_two_files_are_kept_apart(flat: Flat) -> None:
    names = run(flat)
    values = [names[name]().value for name in flat.names.values()]  # type: ignore[operator]
    assert values == [4 + 1, 100]  # gcd(8, 12) plus the shift; gcd(9, 12) less 2, times 100


def test_a_taken_name_gets_a_suffix(flat: Flat) -> None:
    assert list(flat.names.values()) == ["First", "Second_second"]


def test_only_what_is_used_is_taken(flat: Flat) -> None:
    text = "\n".join(flat.definitions)
    assert "UNUSED" not in text
    assert "# How far to shift.\nSHIFT = 1" in text


def test_imports_of_others_are_kept_with_their_aliases(flat: Flat) -> None:
    assert [line for line in flat.imports if line] == [
        "import json",
        "from functools import cached_property",
        "from math import gcd as divisor",
    ]


def test_our_error_becomes_the_built_in_one(flat: Flat) -> None:
    text = "\n".join(flat.definitions)
    assert "InvalidInput" not in text
    with pytest.raises(ValueError, match="négatif"):
        run(flat)["scale"](-1)  # type: ignore[operator]


@pytest.mark.parametrize("name", load_blocks())
def test_every_block_stands_alone(name: str) -> None:
    module = load_blocks()[name].module
    flat = flatten([module], taken=[], imports=[])
    text = "\n".join([*flat.imports, *flat.definitions])
    roots = {
        alias.partition(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
        )
    }
    assert roots <= {"torch", *getattr(module, "needs", ()), *sys.stdlib_module_names}
    assert "@block" not in text
    assert "ClassVar" not in text
    assert run(flat)[flat.names[module]].__doc__ == (module.__doc__ or "").replace(
        "InvalidInput", "ValueError"
    )
