"""The house: who may import whom, sizes, what docstrings state, no private places."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("primitives", "search_spaces", "nas", "dashboard")
# Package -> what of ours it may import; `nas/cli.py` stands above all.
BELOW = {
    "primitives": {"primitives"},
    "search_spaces": {"primitives", "search_spaces"},
    "nas": {"primitives", "search_spaces", "nas"},
    "dashboard": set(PACKAGES),
}
# The only files that may import Ray or Optuna, besides the dashboard.
SEARCH = {
    "nas/inheritance/ancestors.py",
    "nas/bench/fidelity.py",
    "nas/bench/ray_asha.py",
    "nas/bench/search.py",
    "nas/cli.py",
    "nas/fidelity/curve_gain.py",
    "nas/dimensions.py",
    "nas/driver.py",
    "nas/fidelity/early_stop.py",
    "nas/sampler/front_mutation.py",
    "nas/bench/grounds.py",
    "nas/handle.py",
    "nas/sampler/history.py",
    "nas/sampler/known_cost.py",
    "nas/ledger.py",
    "nas/bench/morea.py",
    "nas/opening.py",
    "nas/sampler/point_sampler.py",
    "nas/bench/judge.py",
    "nas/bench/primo.py",
    "nas/sampler/problem.py",
    "nas/bench/qlognehvi.py",
    "nas/runner.py",
    "nas/bench/studies.py",
    "nas/sampler/by_name.py",
    "nas/study.py",
    "nas/bench/tabular.py",
    "nas/worker.py",
}
MEASURING = ("train", "score", "costs", "evaluate", "losses", "metrics", "store")
MEASURING += (
    "inheritance.inherit",
    "inheritance.nearest",
    "bench.table",
    "bench.table_training",
    "bench.table_times",
)
MEASURING += tuple(
    f"latency.{n}"
    for n in ["measure", "operators", "record", "fit", "calibration", "onnx_probes", "timing"]
)
MAX_FILE, MAX_FUNCTION = 300, 50
MAX_BLOCKS = 390  # lines of a file of blocks, whose docstrings are long

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files(*folders: str) -> list[str]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in found)


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(), file)


@cache
def imports(file: str) -> set[str]:
    """Full names of all modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(file: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(file)}


def ours_of(file: str) -> set[str]:
    return {name for name in imports(file) if name.partition(".")[0] in PACKAGES}


def functions(file: str) -> Iterator[tuple[str, Function]]:
    """Every function of a file with its dotted name; methods carry their class."""

    def visit(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, Function | ast.ClassDef):
                inner = f"{prefix}{child.name}."
            if isinstance(child, Function):
                yield prefix + child.name, child
            yield from visit(child, inner)

    return visit(tree(file), "")


every_file = pytest.mark.parametrize("file", files(*PACKAGES))


def test_the_walk_sees_the_code() -> None:
    known = {"primitives/mkir.py", "search_spaces/core/arch.py", "nas/store.py"}
    assert known <= set(files(*PACKAGES))
    assert {"primitives.core.errors.InvalidInput", "torch.nn"} <= imports("primitives/mkir.py")
    names = [name for name, _ in functions("nas/store.py")]
    assert {"Store.__init__", "Store.driving", "set_pragmas"} <= set(names)


@every_file
def test_imports_point_one_way(file: str) -> None:
    command = file == "nas/cli.py" or (file.startswith("nas/") and file.endswith("_command.py"))
    allowed = set(PACKAGES) if command else BELOW[file.partition("/")[0]]
    assert tops(file) & set(PACKAGES) <= allowed
    assert not [name for name in imports(file) if name.startswith("nas.cli")]
    assert "tests" not in tops(file)


@pytest.mark.parametrize("file", files("primitives", "search_spaces"))
def test_blocks_and_spaces_need_torch_alone(file: str) -> None:
    allowed = {"torch"} | ({"timm"} if file == "primitives/timm_encoder.py" else set())
    assert tops(file) - sys.stdlib_module_names - set(PACKAGES) <= allowed


@pytest.mark.parametrize("file", files("primitives", "search_spaces"))
def test_no_block_imports_a_block_and_no_space_a_space(file: str) -> None:
    package, _, rest = file.partition("/")
    if rest == "core/contract.py":  # imports the package itself, to walk it
        assert ours_of(file) - {"primitives"} == {n for n in ours_of(file) if ".core." in n}
        return
    siblings = {name for name in ours_of(file) if name.startswith(f"{package}.")}
    shared = (f"{package}.core.",)
    if package == "search_spaces" and not rest.startswith(("core/", "nets/")):
        shared += (f"{package}.nets.", f"{package}.nets")
    if rest in ("mixed.py", "mixed3d.py"):  # express the networks of the others, found by name
        shared += ("search_spaces.load",)
    assert all(name.startswith(shared) for name in siblings)


@every_file
def test_only_the_search_imports_ray_or_optuna(file: str) -> None:
    heavy = tops(file) & {"ray", "optuna", "optuna_dashboard"}
    assert not heavy or file in SEARCH or file.startswith("dashboard/")


def loaded(code: str, *names: str) -> str:
    """Return which of some modules a fresh process has loaded after running code."""
    shown = f"import sys\n{code}\nprint(sorted({set(names)} & set(sys.modules)))"
    command = [sys.executable, "-c", shown]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_training_scoring_and_costing_load_neither_ray_nor_optuna() -> None:
    code = f"import importlib\nfor name in {MEASURING}: importlib.import_module('nas.' + name)"
    assert loaded(code, "ray", "optuna", "torch") == "['torch']\n"


@pytest.mark.slow
def test_opening_studies_and_costing_load_nothing_that_takes_seconds() -> None:
    code = (
        "import nas.opening, search_spaces\n"
        "from nas.costs import measure_costs\n"
        "space = search_spaces.load('ultralight')\n"
        "measure_costs(space.arch(space.baselines['ultralight-t'].point, 1, 1), 32)"
    )
    heavy = "scipy.stats", "timm", "torch._dynamo", "torchmetrics"
    assert loaded(code, "torch", *heavy) == "['torch']\n"


@pytest.mark.parametrize("file", files(*PACKAGES))
def test_files_and_functions_are_short(file: str) -> None:
    lines = len((ROOT / file).read_text().splitlines())
    limit = MAX_BLOCKS if file.startswith("primitives/") else MAX_FILE
    assert lines <= limit, f"{file} has {lines} lines"
    for name, node in functions(file):
        assert node.end_lineno is not None
        # Stating many arguments should not count against a function, only what it does.
        stated = (ast.get_docstring(node, clean=False) or "").splitlines()
        lines = node.end_lineno - node.lineno + 1 - len(stated)
        assert lines <= MAX_FUNCTION, f"{name} has {lines} lines"


def test_the_wheel_holds_every_package() -> None:
    facts = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {str(Path(file).parent).replace("/", ".") for file in files(*PACKAGES)}
    assert set(facts["tool"]["setuptools"]["packages"]) == folders


@pytest.mark.parametrize("file", files(*PACKAGES, "tests"))
def test_no_file_is_called_utils(file: str) -> None:
    assert not re.search(r"(^|/)_?(utils?|helpers?|common|misc)\.py$", file)


def user_errors() -> set[str]:
    """InvalidInput and what inherits from it."""
    classes = [
        n for f in files(*PACKAGES) for n in ast.walk(tree(f)) if isinstance(n, ast.ClassDef)
    ]
    found = {"InvalidInput"}
    for _ in range(3):  # own inheritance is at most this deep
        found |= {c.name for c in classes if found & {getattr(b, "id", "") for b in c.bases}}
    return found


USER_ERRORS = user_errors()
assert "StudyMismatch" in USER_ERRORS


def raises_user_error(function: Function) -> bool:
    """Whether a `raise` of a user's error stands in the function itself."""
    raised = [n.exc for n in ast.walk(function) if isinstance(n, ast.Raise)]
    calls = [exc.func for exc in raised if isinstance(exc, ast.Call)]
    return any(isinstance(func, ast.Name) and func.id in USER_ERRORS for func in calls)


def documents(file: str) -> Iterator[tuple[str, Function, str]]:
    """Public functions and constructors with the docstring that speaks for them."""
    classes = {c.name: c for c in ast.walk(tree(file)) if isinstance(c, ast.ClassDef)}
    for name, node in functions(file):
        owner, _, own = name.rpartition(".")
        constructor = own in ("__init__", "__post_init__") and owner in classes
        if any(part.startswith("_") for part in name.split(".")) and not constructor:
            continue
        if constructor and owner.startswith("_"):
            continue
        yield name, node, ast.get_docstring(classes[owner] if constructor else node) or ""


@every_file
def test_public_code_states_the_user_errors_it_raises(file: str) -> None:
    for name, node, doc in documents(file):
        if raises_user_error(node):
            stated = "Raises:\n" in doc or doc.startswith("Raise ")
            assert stated, f"{name} raises a user's error, its docstring does not say so"


@every_file
def test_documented_arguments_exist(file: str) -> None:
    for name, node, doc in documents(file):
        section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", doc, re.MULTILINE)
        if section is None or name.endswith("__post_init__"):
            continue
        stated = set(re.findall(r"^    (\w+): ", section[1], re.MULTILINE))
        args = node.args
        given = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        assert stated <= {arg.arg for arg in given if arg is not None}, name


def test_nothing_names_a_place_on_somebodys_machine() -> None:
    suffixes = {".py", ".md", ".toml", ".json", ".yml", ".yaml", ".cfg", ".txt", ".sh"}
    hidden = {".git", ".venv", "build", "dist", "__pycache__", ".mypy_cache", ".ruff_cache"}
    # Somebody's home, a mounted disk, or the folder that this checkout lies in.
    here = re.escape(str(ROOT if ROOT.parent == Path("/") else ROOT.parent))
    place = re.compile(rf"(?<![\w.:/)}}\]*-])(?:/(?:home|Users|root|mnt)|{here})/[\w.]")
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if path.suffix in suffixes and not hidden & set(parts) and path.is_file():
            found = place.search(path.read_text())
            assert found is None, f"{Path(*parts)} names the place {found and found[0]!r}"
