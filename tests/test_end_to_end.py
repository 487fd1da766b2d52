"""Whole searches: what they print and store, and that a kill at any moment changes nothing."""

import json
from collections.abc import Iterator
from functools import partial

import pytest

import nas
from tests.processes import EPOCHS, MOMENTS, TRIALS, Search, kill, searching, wait_for


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    """Yield a search that ran to its end."""
    with searching(tmp_path_factory.mktemp("ended")) as found:
        code, out, err = found.run()
        assert code == 0, err
        assert "nas show s " in out
        yield found


def test_a_search_prints_its_progress_and_no_warning(ended: Search) -> None:
    errors = ended.errors()
    for number in range(TRIALS):
        assert f"trial {number} complete: dice " in errors
    for noise in ("arning", "Traceback", "(pid=", "INFO", "Error"):
        assert noise not in errors, errors


def test_what_a_search_stored_is_read_by_the_commands(ended: Search) -> None:
    assert ended.counts() == {"complete": TRIALS}
    front = ended.json("front", "s")
    assert isinstance(front, list)
    assert {t["baseline"] for t in front} <= {"ultralight-t", "ultralight-s"}
    first = front[0]
    assert first["full_budget"]
    assert first["epochs"] == EPOCHS
    assert first["values"] == {"dice": first["dice"], "params": first["params"]}
    shown = ended.json("show", "s", "0")
    assert isinstance(shown, dict)
    assert shown["baseline"] == "ultralight-t"
    net = nas.build(nas.baseline("ultralight-t", in_channels=1))
    assert shown["params"] == sum(p.numel() for p in net.parameters())
    assert [row["epoch"] for row in shown["curve"]] == list(range(1, EPOCHS + 1))
    assert shown["dice"] == max(row["dice"] for row in shown["curve"])


def test_a_search_leaves_nothing_but_results(ended: Search) -> None:
    assert not list(ended.store.glob("checkpoints/*"))
    assert len(list(ended.store.glob("weights/*"))) == TRIALS
    assert not (ended.store / "ray-s").exists()


def test_the_same_command_again_trains_nothing(ended: Search) -> None:
    before = ended.finished()
    again = ended.run_here()
    assert again.exit_code == 0
    assert "(--trials is the total)" in again.stdout
    assert ended.finished() == before
    assert len(ended.epochs()) == TRIALS * EPOCHS


def test_other_settings_are_refused_with_their_differences(ended: Search) -> None:
    before = ended.finished()
    refused = ended.run_here("--epochs", "4", "--seed", "1")
    assert refused.exit_code == 2
    assert refused.stdout == ""
    last = refused.stderr.strip().splitlines()[-1]
    assert "study 's' was made with epochs=2, got epochs=4; seed=0, got seed=1" in last
    assert ended.finished() == before


@pytest.mark.slow
def test_a_search_killed_at_every_moment_ends_as_if_it_had_not_been(
    search: Search, ended: Search
) -> None:
    before: dict[str, tuple[float, int]] = {}
    for moment, has_come in MOMENTS.items():
        dying = search.start()
        wait_for(partial(has_come, search), dying)
        kill(dying)
        assert before.items() <= search.finished().items(), f"a trial was lost: killed {moment}"
        before = search.finished()
    code, _, err = search.run()
    assert code == 0, err
    assert search.counts() == ended.counts()
    assert before.items() <= search.finished().items(), "a finished trial was trained again"
    assert search.epochs() == ended.epochs()
    assert results(search) == results(ended), "a continued training must end the same"


def results(search: Search) -> list[tuple[object, object, object]]:
    found = search.rows("SELECT arch_key, trial, value FROM nas_evaluations ORDER BY trial")
    return [(key, trial, json.loads(str(value))["dice"]) for key, trial, value in found]
