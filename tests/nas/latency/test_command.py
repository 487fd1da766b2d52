"""The commands that time this machine, on few and small networks, and a search that uses them."""

import json
from pathlib import Path

import pytest

from nas.latency import record
from nas.latency.calibration import read_calibration
from nas.latency.record import Wanted, choose_probes
from nas.store import Store
from tests.commands import run, run_json
from tests.processes import Search, kill, wait_for

TIMED = ("--objective", "dice,latency", "--device", "cpu")
OPTIONS = "--space ultralight --size 32 --device cpu"
TIMED_AGAIN = "SELECT value_json FROM study_user_attributes WHERE key = 'front_latency'"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    def chosen(spaces: list, *_: object) -> list[Wanted]:
        return choose_probes(spaces, 3, 2)

    monkeypatch.setattr(record, "choose_probes", chosen)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_calibrate_keeps_a_model_in_the_store_and_tells_its_accuracy(few: Path) -> None:
    told = run_json(f"latency calibrate {OPTIONS}")
    assert told["networks"] == 3
    assert [row["space"] for row in told["accuracy"]] == ["", "ultralight"]
    assert [row["count"] for row in told["accuracy"]] == [2, 2]
    path = few / told["file"]
    assert path.parent == few / "nas-store" / "latency"
    found = read_calibration(path)
    assert Store(few / "nas-store").rig(found.rig) == told["rig"]
    assert all(0 < probe["ms"] <= probe["slowest_ms"] for probe in probes(path))


def probes(path: Path) -> list[dict[str, float]]:
    found = json.loads(path.read_text())["recording"]["probes"]
    assert isinstance(found, list)
    return found


def test_a_record_is_a_file_for_another_machine_and_a_plan_says_so(few: Path) -> None:
    text = run(f"latency record --out phone.json {OPTIONS}").stdout
    assert "random networks that were not fitted; goal on an idle machine: median error 5 %" in text
    assert "threads 1" in text
    assert "kept: phone.json" in text
    assert list(few.iterdir()) == [few / "phone.json"]
    search = "search --space ultralight --objective dice,latency --size 32 --epochs 1 --trials 2"
    plan = run(f"{search} --latency-from phone.json --dry-run").stdout
    (line,) = (line for line in plan.splitlines() if line.startswith("latency"))
    assert "predicted, nothing is timed here: " in line
    assert "1 thread(s), torch; median error" in line
    planned = run_json(f"{search} --latency-from phone.json --dry-run")
    assert planned["latency_from"] == read_calibration(few / "phone.json").key
    wrong = run(f"{search.replace('32', '64')} --latency-from phone.json --dry-run")
    assert "phone.json was recorded at size 32, the study has size 64" in wrong.stderr


@pytest.mark.slow
def test_a_search_with_a_calibration_times_its_front_again_and_goes_on_when_killed_there(
    few: Path, search: Search
) -> None:
    calibrate = f"latency calibrate {OPTIONS} --store {search.store}"
    first = run_json(calibrate)
    dying = search.start(*TIMED)
    wait_for(lambda: search.rows(TIMED_AGAIN), dying)
    kill(dying)
    before, trained = timed_again(search), search.finished()
    assert before
    assert run_json(calibrate)["key"] != first["key"], "a newer one, which changes no study"
    code, out, err = search.run(*TIMED)
    assert code == 0, err
    assert "measured in torch; predicted before: median error" in err
    assert "latency of the front timed again, end to end [95 %]:" in out
    assert before.items() <= timed_again(search).items()
    assert search.finished() == trained
    rows = search.json("front", "s")
    assert isinstance(rows, list)
    assert rows
    assert all(row["latency_again_ms"] > 0 and not row["latency_predicted"] for row in rows)


def timed_again(search: Search) -> dict[str, object]:
    ((kept,),) = search.rows(TIMED_AGAIN)
    found = json.loads(json.loads(str(kept)))
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_a_search_for_another_device_times_nothing(few: Path, search: Search) -> None:
    run_json(f"latency record --out phone.json {OPTIONS}")
    code, out, err = search.run(*TIMED, "--latency-from", str(few / "phone.json"))
    assert code == 0, err
    assert "~ latency is predicted, [90 %] of predictions, for " in out
    assert search.rows("SELECT 1 FROM nas_latencies") == []
    rows = search.json("front", "s")
    assert isinstance(rows, list)
    assert rows
    assert all(row["latency_predicted"] and row["latency_again_ms"] is None for row in rows)
