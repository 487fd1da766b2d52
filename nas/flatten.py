"""Take classes and functions out of their files, with all they use of ours, as one plain text.

Names are followed through the syntax trees, so comments and layout survive. What registers blocks
(the decorator, the table of knobs) is left out.
"""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

_OURS = ("primitives", "search_spaces", "nas")
_DECORATOR = "block"
_FACTS = (
    "knobs",
    "ndims",
    "added_knobs",
    "multiple_knob",
    "stride",
    "needs",
    "stride_of",
    "vanishing",
    "keeps",
)  # for the table of blocks alone
Edit = tuple[int, int, str]  # first and last byte of a span of a line, what stands there instead


class Origin(NamedTuple):
    """Where a name is defined: `from module import name`, or `import module` where name is ""."""

    module: str
    name: str


# The message stays the same, the type becomes the built-in base class.
_BUILT_IN: Mapping[Origin, str] = {Origin("primitives.core.errors", "InvalidInput"): "ValueError"}


@dataclass(frozen=True, slots=True)
class Flat:
    """Source text that needs no file of ours.

    Attributes:
        imports: one statement each, of other people's modules.
        definitions: of classes, functions and constants, each before its use.
        names: what each object asked for is called in there.
    """

    imports: tuple[str, ...]
    definitions: tuple[str, ...]
    names: Mapping[Any, str]


def flatten(
    objects: Sequence[type | Callable[..., Any]], *, taken: Sequence[str], imports: Sequence[Origin]
) -> Flat:
    """Collect the source of objects and of everything of ours that they refer to.

    Args:
        objects: classes and functions defined at the top of our modules.
        taken: names that the text around uses itself; equal names of ours get a suffix.
        imports: what the text around needs imported.
    """
    flattening = _Flattening(taken)
    for origin in imports:
        flattening.add(origin, origin.name or origin.module)
    names = {}
    for thing in objects:
        names[thing] = flattening.add(Origin(thing.__module__, thing.__name__), thing.__name__)
    return Flat(tuple(flattening.imports()), tuple(flattening.texts), names)


class _Flattening:
    """The names given so far and the texts in the order of their dependence."""

    def __init__(self, taken: Sequence[str]) -> None:
        self.texts: list[str] = []
        self._names: dict[Origin, str] = dict(_BUILT_IN)
        self._taken = set(taken)
        self._files: dict[str, _File] = {}
        self._imports: list[Origin] = []

    def add(self, origin: Origin, alias: str) -> str:
        """Add a definition with all it uses, or an import; return its name in the text."""
        if origin in self._names:
            return self._names[origin]
        if _root(origin.module) in _OURS:
            return self._define(origin)
        self._imports.append(origin)
        self._names[origin] = self._free(alias, origin)
        return self._names[origin]

    def _define(self, origin: Origin) -> str:
        self._names[origin] = self._free(origin.name, origin)
        file = self._file(origin.module)
        renames = {origin.name: self._names[origin]}
        for used in file.uses(origin.name):
            renames[used] = self.add(self._resolve(file, used), used)
        self.texts.append(file.text(origin.name, renames))
        return self._names[origin]

    def imports(self) -> Iterator[str]:
        """Yield import statements: the standard library's, an empty line, the others."""
        standard = [o for o in self._imports if _root(o.module) in sys.stdlib_module_names]
        yield from self._statements(standard)
        yield ""
        yield from self._statements([o for o in self._imports if o not in standard])

    def _statements(self, origins: Sequence[Origin]) -> Iterator[str]:
        for origin in sorted(o for o in origins if not o.name):
            yield f"import {origin.module}" + self._alias(origin, origin.module)
        for module in sorted({o.module for o in origins if o.name}):
            names = sorted(o for o in origins if o.module == module and o.name)
            listed = ", ".join(o.name + self._alias(o, o.name) for o in names)
            yield f"from {module} import {listed}"

    def _alias(self, origin: Origin, name: str) -> str:
        return "" if self._names[origin] == name else f" as {self._names[origin]}"

    def _free(self, wish: str, origin: Origin) -> str:
        name, number = wish, 2
        while name in self._taken:
            name = f"{wish}_{origin.module.rpartition('.')[2]}" + (
                f"_{number}" if number > 2 else ""
            )
            number += 1
        self._taken.add(name)
        return name

    def _file(self, module: str) -> "_File":
        if module not in self._files:
            self._files[module] = _File(module)
        return self._files[module]

    def _resolve(self, file: "_File", name: str) -> Origin:
        """Follow a name through our files to where it is defined, or out of them."""
        while name not in file.definitions:
            origin = file.imports[name]
            if origin in _BUILT_IN or _root(origin.module) not in _OURS:
                return origin
            assert origin.name, (
                f"{file.module} must import names from {origin.module}, not the module"
            )
            file, name = self._file(origin.module), origin.name
        return Origin(file.module, name)


class _File:
    """One of our modules: its definitions and imports by name."""

    def __init__(self, module: str) -> None:
        self.module = module
        source = inspect.getsource(importlib.import_module(module))
        self._lines = source.splitlines()
        self._dropped: set[int] = set()
        self.definitions: dict[str, ast.stmt] = {}
        self.imports: dict[str, Origin] = {}
        for statement in ast.parse(source).body:
            self._read(statement)

    def uses(self, name: str) -> list[str]:
        """Return what a definition refers to at the top of its file, itself excluded."""
        found = {node.id: None for node in _names_in(self.definitions[name])}
        known = self.definitions.keys() | self.imports.keys()
        return [used for used in found if used in known and used != name]

    def text(self, name: str, renames: Mapping[str, str]) -> str:
        """Return the source of a definition, comments above included, with names replaced."""
        node = self.definitions[name]
        assert node.end_lineno is not None
        edits = _edits(node, renames)
        numbers = range(self._first_line(node), node.end_lineno + 1)
        lines = [
            _edit(self._lines[n - 1], edits.get(n, ())) for n in numbers if n not in self._dropped
        ]
        return _plain_errors("\n".join(lines))

    def _read(self, statement: ast.stmt) -> None:
        match statement:
            case ast.ImportFrom(module=str(module), names=names, level=0):
                for alias in names:
                    self.imports[alias.asname or alias.name] = Origin(module, alias.name)
            case ast.Import(names=names):
                for alias in names:
                    bound = alias.asname or alias.name.partition(".")[0]
                    self.imports[bound] = Origin(alias.name if alias.asname else bound, "")
            case ast.FunctionDef(name=name):
                self.definitions[name] = statement
            case ast.ClassDef(name=name):
                self._strip(statement)
                self.definitions[name] = statement
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                self.definitions[name] = statement

    def _strip(self, node: ast.ClassDef) -> None:
        """Take the registration out of a class and remember its lines."""
        registering = [d for d in node.decorator_list if _is_call_of(d, _DECORATOR)]
        facts = [s for s in node.body if _assigns(s, _FACTS)]
        node.decorator_list = [d for d in node.decorator_list if d not in registering]
        node.body = [s for s in node.body if s not in facts]
        parts: list[ast.expr | ast.stmt] = [*registering, *facts]
        for part in parts:
            assert part.end_lineno is not None
            end = part.end_lineno
            if part in facts and not self._lines[end].strip():
                end += 1  # the blank line that set it apart
            self._dropped.update(range(part.lineno, end + 1))

    def _first_line(self, node: ast.stmt) -> int:
        decorators: list[ast.expr] = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(d.lineno for d in decorators)])
        while first > 1 and (self._lines[first - 2].startswith("#") or first - 1 in self._dropped):
            first -= 1
        return first


def _names_in(node: ast.AST) -> Iterator[ast.Name]:
    return (n for n in ast.walk(node) if isinstance(n, ast.Name))


def _is_call_of(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _assigns(node: ast.stmt, names: Sequence[str]) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(isinstance(target, ast.Name) and target.id in names for target in targets)


def _root(module: str) -> str:
    return module.partition(".")[0]


def _edits(node: ast.stmt, renames: Mapping[str, str]) -> dict[int, list[Edit]]:
    """Return what to replace where names change: line -> spans."""
    edits: dict[int, list[Edit]] = {}
    for use in _names_in(node):
        new = renames.get(use.id, use.id)
        if new != use.id:
            end = use.col_offset + len(use.id.encode())
            edits.setdefault(use.lineno, []).append((use.col_offset, end, new))
    if isinstance(node, ast.ClassDef | ast.FunctionDef) and renames[node.name] != node.name:
        start = len("class " if isinstance(node, ast.ClassDef) else "def ")
        edits[node.lineno] = [
            (start, start + len(node.name.encode()), renames[node.name]),
            *edits.get(node.lineno, []),
        ]
    return edits


def _edit(line: str, edits: Sequence[Edit]) -> str:
    """Replace spans of a line; the syntax tree counts UTF-8 bytes."""
    raw = line.encode()
    for start, end, new in sorted(edits, reverse=True):
        raw = raw[:start] + new.encode() + raw[end:]
    return raw.decode()


def _plain_errors(text: str) -> str:
    """Name the built-in types in docstrings too."""
    for origin, built_in in _BUILT_IN.items():
        text = re.sub(rf"\b{origin.name}\b", built_in, text)
    return text
