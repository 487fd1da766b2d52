import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import nas
from nas.plan import make_plan, read_file
from tests.commands import run
from tests.test_cli import commands

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LINES = [line for line in README.splitlines() if line.startswith("(python3 ")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_it_is_short() -> None:
    assert len(README.splitlines()) < 200


@pytest.mark.parametrize("name", [name for name, command in commands() if name != "data"])
def test_every_command_is_mentioned(name: str) -> None:
    assert re.search(rf"\bnas {name}\b", README)


def test_the_tables_are_those_that_the_program_prints() -> None:
    spaces, found_blocks = run("spaces --markdown").stdout.strip().split("\n\n")
    assert f"\n{spaces}\n" in README
    assert f"\n{found_blocks}\n" in README


def test_one_line_installs_and_searches_and_one_installs_and_tests() -> None:
    search, test = LINES
    assert search.endswith("/nas search --space ultralight --objective dice,latency")
    assert test.endswith("/pip install '.[test]' && .venv/bin/pytest")
    for line in LINES:
        subprocess.run(["sh", "-n", "-c", line], check=True)


def test_the_pipeline_runs_the_line_of_the_tests() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    found = re.search(r"line=\$\((grep .* README\.md)\)", script)
    assert found is not None
    command = ["bash", "-c", found[1]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [LINES[1]]


def test_the_line_falls_back_where_python_has_no_venv(tmp_path: Path) -> None:
    """A Python without `venv`, as in a stock Debian: `apt-get` is asked for it, then it works."""
    scripts = {
        "python3": '[ -e installed ] || { echo "ensurepip is not available"; exit 1; }\n'
        "mkdir -p .venv/bin; for n in pip nas pytest; do\n"
        'printf "#!/bin/sh\\necho $n \\"\\$@\\" >> log\\n" > .venv/bin/$n\n'
        "chmod +x .venv/bin/$n; done",
        "apt-get": 'echo apt-get "$@" >> log; [ "$1" = update ] || touch installed',
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("mkdir", "chmod", "touch", "sh"):
        target = subprocess.run(["which", name], capture_output=True, text=True, check=True)
        (tools / name).symlink_to(target.stdout.strip())
    for line in LINES:
        (tmp_path / "log").write_text("")
        (tmp_path / "installed").unlink(missing_ok=True)
        path = f"{tmp_path}:{tools}"
        subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, env={"PATH": path}, check=True)
        said = (tmp_path / "log").read_text().splitlines()
        assert said[:2] == ["apt-get update", "apt-get install -y python3-venv"]
        assert said[2].startswith("pip install .")
        assert said[3].startswith(("nas search ", "pytest"))


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_python_example_uses_what_is_there() -> None:
    (example,) = blocks("python")
    nodes = [n for n in ast.walk(ast.parse(example)) if isinstance(n, ast.Attribute)]
    names = {n.attr for n in nodes if isinstance(n.value, ast.Name) and n.value.id == "nas"}
    assert {"search", "baseline", "build", "space"} <= names
    assert [name for name in names if not hasattr(nas, name)] == []
    net = nas.build(nas.baseline("ultralight-base", in_channels=1))
    assert sum(p.numel() for p in net.parameters()) > 300_000


def test_the_study_file_is_one(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    (tmp_path / "mine.toml").write_text(text)
    plan = make_plan({**read_file(tmp_path / "mine.toml"), "device": "cpu"})
    written = tomllib.loads(text)
    assert list(plan.study.constraints) == written["constraints"]
    assert (plan.study.size, plan.study.epochs) == (written["size"], written["epochs"])
    assert plan.run.trials == written["trials"]
