import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import nas.cli
import nas.driver
import search_spaces
from nas import render
from nas.handle import StudyHandle
from tests.commands import QUICK, SEARCH, run, run_json, write_images
from tests.dashboard.studies import FAILED, RUNNING, STOPPED

ROOT = Path(__file__).parents[1]


@pytest.fixture
def few_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave three published networks, two of which are equal, for commands that take them all."""
    real = search_spaces.load("ultralight")
    names = ("ultralight-t", "ultralight-base", "ultralight-k1-3-5")
    space = replace(real, baselines={name: real.baseline(name) for name in names})
    monkeypatch.setattr(search_spaces, "names", lambda: ["ultralight"])
    monkeypatch.setattr(search_spaces, "load", lambda name: space)


def commands(group: click.Group = nas.cli.main, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{path}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")


def test_every_command_and_option_has_help() -> None:
    names = dict(commands())
    assert {"search", "front", "show", "status", "export", "dashboard", "bench"} <= set(names)
    for name, command in names.items():
        result = run(f"{name} -h")
        assert result.exit_code == 0
        assert result.stdout.startswith(f"Usage: nas {name} ")
        assert len(command.help or "") > 10, name
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help, f"{name} {option.name}"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from nas.cli import main\n"
        "try: main(['search', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'optuna', 'ray', 'sqlalchemy', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: nas search" if "nas" in sys.argv[0] else "Usage: ")
    assert done.stdout.endswith("[]\n")


def test_no_arguments_show_the_help() -> None:
    result = run("")
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


def test_status_counts_the_trials_by_state(inside: None) -> None:
    (row,) = run_json("status read")
    assert row["study"] == "demo"
    states = ("complete", "stopped", "inherited", "infeasible", "reused", "failed", "running")
    counts = {state: row[state] for state in states}
    assert sum(counts.values()) == 12
    assert {k: counts[k] for k in ("stopped", "reused", "failed", "running")} == {
        "stopped": 1, "reused": 1, "failed": 1, "running": 1,
    }  # fmt: skip
    assert row["searching"] is False
    text = run("status read").stdout
    assert text.splitlines()[1].split() == ["study", "space", *states, "front", "searching"]


def test_the_front_holds_complete_trials_that_no_other_beats(inside: None) -> None:
    rows = run_json("front demo --store read")
    assert len(rows) >= 2
    for row in rows:
        assert (row["state"], row["full_budget"], row["epochs"]) == ("complete", True, 5)
        assert row["values"] == {"dice": row["dice"], "params": row["params"]}
        assert {"trial", "arch_key", "baseline", "macs", "latency_ms"} <= set(row)
    for a in rows:
        assert not any(
            b["dice"] >= a["dice"] and b["params"] <= a["params"] and b is not a for b in rows
        )


def test_the_front_is_a_table_with_a_line_for_each_trial(inside: None) -> None:
    rows = run_json("front demo --store read")
    title, head, *lines = run("front demo --store read").stdout.splitlines()
    assert title.startswith("Pareto front: maximize dice, minimize params")
    assert re.split(r"  +", head.strip()) == [
        "trial", "arch", "baseline", "Dice", "latency ms [95 %]", "params", "macs", "epochs",
    ]  # fmt: skip
    best = max(rows, key=lambda r: r["dice"])
    assert len(lines) == len(rows)
    assert lines[0].split()[:2] == [str(best["trial"]), best["arch_key"]]
    assert f"{best['dice']:.4f}" in lines[0]
    assert f"{best['latency_ms']:.3g} [1.9, 9.5]" in lines[0]


def test_the_front_fits_100_columns(handle: StudyHandle) -> None:
    trials = [replace(t, baseline="ultralight-mkira-encoder") for t in handle.front()]
    console = Console(width=100, markup=False)
    with console.capture() as captured:
        console.print(render.front_table(trials, handle.objectives))
    lines = captured.get().splitlines()
    assert len(lines) == len(trials) + 2
    assert all("ultralight-mkira-encoder" in line for line in lines[2:])
    assert all(trial.arch.key in captured.get() for trial in trials if trial.arch)


def test_a_limit_narrows_the_front_and_an_empty_one_says_so(inside: None) -> None:
    rows = run_json("front demo --store read")
    bound = min(row["params"] for row in rows) / 1e6
    narrowed = run_json(f"front demo --store read --under params={bound}M")
    assert [row["params"] for row in narrowed] == [min(row["params"] for row in rows)]
    nothing = run("front demo --store read --under params=1k")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert nothing.stderr == "no fully trained trial meets that yet\n"
    assert run_json("front demo --store read --under params=1k") == []


def test_show_tells_arch_costs_scores_and_curve(inside: None, handle: StudyHandle) -> None:
    row = run_json("show demo 2 --store read")
    assert (row["trial"], row["baseline"]) == (2, "ultralight-base")
    assert [point["epoch"] for point in row["curve"]] == [1, 2, 3, 4, 5]
    assert row["arch"]["encoder"]
    text = run("show demo 2 --store read").stdout
    assert text.startswith("trial 2: complete, baseline ultralight-base\narch ")
    assert f"{row['params']:,} params, " in text
    assert f"Dice {row['dice']:.4f}, IoU {row['iou']:.4f} on validation images" in text
    assert "latency " in text
    assert text.endswith(f"{row['curve'][-1]['dice']:.3f}\n")


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (3, "trial 3: infeasible (params is "),
        (STOPPED, "trial 6: stopped (it ended before its budget)\n"),
        (FAILED, "trial 7: failed (the driver died while proposing it)\n"),
        (RUNNING, "trial 8: running\n"),
    ],
)
def test_show_tells_why_a_trial_has_no_score(inside: None, number: int, line: str) -> None:
    assert run(f"show demo {number} --store read").stdout.startswith(line)
    assert run_json(f"show demo {number} --store read")["full_budget"] is False


def test_spaces_lists_dimensions_values_size_and_baselines() -> None:
    found = {space["name"]: space for space in run_json("spaces")}
    assert tuple(found) == search_spaces.names()
    space, real = found["ultralight"], search_spaces.load("ultralight")
    assert space["size"] == real.size
    assert {n: d["values"] for n, d in space["dimensions"].items()} == {
        n: list(d.values) for n, d in real.dimensions.items()
    }
    assert list(space["baselines"]) == list(real.baselines)
    text = run("spaces ultralight").stdout
    assert re.search(r"^levels +int +4 to 5$", text, re.MULTILINE)
    assert re.search(r"^depth_1 \.\.\. 5 +int +1 to 3$", text, re.MULTILINE)
    assert "ultralight-base, ultralight-m" in text


def test_baselines_stand_beside_their_papers(few_baselines: None) -> None:
    rows = {row["baseline"]: row for row in run_json("baselines")}
    base = rows["ultralight-base"]
    # The published program, and what its paper prints.
    assert (base["program_params"], base["paper_params"]) == (315_566, "0.316M")
    assert (base["paper_cost"], base["discarded_params"]) == ("0.314G", 115)
    text = run("baselines").stdout
    assert re.search(
        r"^ultralight-base +315,451 +315,566 +0\.316M +277\.6M +256 +0\.314G", text, re.M
    )
    assert base["paper_rule"] in text


def test_bench_measures_each_network_once(few_baselines: None) -> None:
    found = run_json("bench --size 32 --device cpu")
    assert [(row["baseline"], row["params"]) for row in found["baselines"]] == [
        ("ultralight-t", 27_353),
        ("ultralight-base", 315_451),  # once more as the row k1-3-5 of Table 5
    ]
    for latency in (row["latency"] for row in found["baselines"]):
        assert 0 < latency["low_ms"] <= latency["latency_ms"] <= latency["high_ms"]
    assert found["rig"]


def test_data_check_counts_and_names_bad_files(tmp_path: Path) -> None:
    write_images(tmp_path, 12, halved=2)
    bad = run(f"data check {tmp_path}")
    assert bad.exit_code == 2
    assert bad.stdout.startswith("masks/00.png: has size 32x16, its image 32x32; make them equal\n")
    assert "10 usable pairs, 2 bad files\n" in bad.stdout
    assert json.loads(run(f"data check {tmp_path} --json").stdout)["usable"] == 10


def test_data_check_calls_a_full_mask_empty_when_masks_are_inverted(tmp_path: Path) -> None:
    write_images(tmp_path, 3)
    Image.fromarray(np.full((32, 32), 255, np.uint8)).save(tmp_path / "masks" / "00.png")
    assert run(f"data check {tmp_path}").exit_code == 0
    inverted = run(f"data check {tmp_path} --invert-masks")
    assert inverted.exit_code == 2
    assert inverted.stdout.startswith("masks/00.png: empty mask")


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    common = f"{SEARCH} --device cpu --size 64 --epochs 7 --dry-run"
    plan = json.loads(run(f"{common} --constraint none --json").stdout)
    assert (plan["name"], plan["store"], plan["epochs"]) == ("ultralight-phantom", "nas-store", 7)
    text = run(common).stdout
    assert "(default on cpu; --constraint none lifts it)" in text
    assert re.search(r"^first +ultralight-t, ultralight-s, ultralight-base; then ", text, re.M)
    assert re.search(r"^constraints +none$", run(f"{common} --constraint none").stdout, re.M)
    own = run(f"{common} --constraint 'params<=1M' --constraint 'macs<=2G'").stdout
    assert re.search(r"^constraints +params<=1M, macs<=2G$", own, re.M)
    assert list(tmp_path.iterdir()) == []


def test_flags_win_over_a_study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ['space = "ultralight"', 'objectives = ["dice", "macs"]', "trials = 7", "epochs = 3"]
    (tmp_path / "x.toml").write_text("\n".join(lines))
    plan = json.loads(run("search --file x.toml --epochs 4 --dry-run --json").stdout)
    assert (plan["objectives"], plan["trials"], plan["epochs"]) == (["dice", "macs"], 7, 4)


def test_a_search_ends_with_the_front_and_the_next_commands(
    inside: None, handle: StudyHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.driver, "drive", lambda plan, watcher: handle)
    command = f"{QUICK} --study demo --store read --trials 9"
    result = run(command)
    first = render.best_first(handle.front(), handle.objectives)[0].number
    assert result.stdout.startswith("Pareto front: ")
    assert result.stdout.endswith(
        "0 of 9 trials have ended; the same command continues\n"
        "next:\n"
        f"  nas show demo {first} --store read\n"
        f"  nas export demo --trial {first} --out exported --store read\n"
        "  nas dashboard read\n"
    )
    assert "12 proposals: " in result.stdout
    assert result.stderr.startswith("Plan\n")
    rows = json.loads(run(f"{command} --json").stdout)
    assert rows == run_json("front demo --store read")


def test_ctrl_c_prints_the_command_that_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nas.driver, "drive", interrupt)
    monkeypatch.setattr(sys, "argv", ["/bin/nas", *shlex.split(SEARCH), "--study", "my study"])
    result = run(f"{QUICK} --study 'my study'")
    assert result.exit_code == 1
    assert result.stderr.endswith(
        "stopped; everything is stored. To continue:\n"
        "  nas search --space ultralight --objective dice,params --study 'my study'\n"
    )


def test_an_export_is_written_and_checked(
    inside: None, handle: StudyHandle, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run(f"export demo --trial 0 --out {out} --format module --store read")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{out}: card.md, model.py, preprocess.json, weights.safetens")
    assert (out / "model.py").is_file()
