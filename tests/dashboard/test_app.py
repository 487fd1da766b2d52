import http.client
import io
import json
import os
import socket
import threading
from urllib.parse import urlparse

import optuna
import pytest
from optuna_dashboard import get_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from PIL import Image

from dashboard import app
from dashboard.app import Refresher, serve, sync
from dashboard.notes import study_note, trial_note
from nas.handle import open_storage
from primitives.core.errors import InvalidInput
from tests.dashboard.studies import FAILED, RUNNING, SPACE, STOPPED, Writer, make_arch, write_study


@pytest.fixture(scope="module")
def synced(tmp_path_factory, prepared):
    """A study that was synced twice; what both runs returned comes with it."""
    handle = write_study(tmp_path_factory.mktemp("stores") / "synced", prepared, 10)
    first = sync(handle)
    before = attributes(handle)
    return handle, first, before, sync(handle)


def attributes(handle):
    study = handle.optuna_study
    return study._storage.get_study_system_attrs(study._study_id)


def trial_id(handle, number):
    return handle.optuna_study.get_trials(deepcopy=False)[number]._trial_id


def note_of(handle, number):
    return get_note(optuna.trial.Trial(handle.optuna_study, trial_id(handle, number)))


def artifacts_of(handle, number):
    prefix = f"dashboard:artifacts:{trial_id(handle, number)}:"
    found = [json.loads(v) for k, v in attributes(handle).items() if k.startswith(prefix)]
    return {meta["filename"]: meta["artifact_id"] for meta in found}


def test_second_sync_writes_nothing(synced):
    handle, first, before, second = synced
    assert first == 9  # ten trials, one of which is running
    assert second == 0
    assert attributes(handle) == before


def test_study_keeps_its_figures_and_metric_names(synced):
    handle, *_ = synced
    stored = get_plotly_graph_objects(attributes(handle))
    assert set(stored) == {"front-params-dice", "hypervolume", "curves"}
    assert json.loads(stored["hypervolume"])["layout"]["title"]["text"].startswith("Hypervolume")
    assert handle.optuna_study.metric_names == ["dice", "params"]


def test_every_ended_trial_has_pictures_that_open(synced):
    handle, *_ = synced
    stems = {0: ["arch", "masks"], 3: ["arch"], FAILED: [], STOPPED: ["arch", "masks"], RUNNING: []}
    for number, kinds in stems.items():
        found = artifacts_of(handle, number)
        assert sorted(found) == [f"trial-{number}-{kind}.png" for kind in kinds]
        for artifact in found.values():
            png = (handle.store.folder / "artifacts" / artifact).read_bytes()
            assert Image.open(io.BytesIO(png)).format == "PNG"


def test_note_has_the_stages_the_costs_and_the_pictures(synced):
    handle, *_ = synced
    lines = [line.replace("\N{EM SPACE}", "") for line in note_of(handle, 2).splitlines()]
    e = handle.trial(2).evaluation
    assert lines[0] == "### Trial 2: ultralight-base"
    costs = f"315.5k | {e.macs / 1e6:.4g}M | {e.memory_mib:.3g} MiB | 5.15 [1.9, 9.5]"
    assert f"| {e.dice:.4f} | {e.iou:.4f} | {costs} | 5 of 5, best 5 |" in lines
    assert "| encoder 3 | 1/4 | 64 | 1 | mkir, kernels 1-3-5, expansion 2 | - |" in lines
    assert (
        "| decoder 5 | 1/2 | 16 | 1 | mkir, kernels 1-3-5, expansion 2 "
        "| channel-attention, ratio 4, spatial-attention |"
    ) in lines
    assert sum(line.startswith(("| encoder", "| decoder")) for line in lines) == 10
    study_id = handle.optuna_study._study_id
    for artifact in artifacts_of(handle, 2).values():
        address = f"(/artifacts/{study_id}/{trial_id(handle, 2)}/{artifact})"
        assert any(line.startswith("![") and line.endswith(address) for line in lines)


def test_notes_of_untrained_trials_say_why(synced):
    handle, *_ = synced
    assert "infeasible: params is 1" in note_of(handle, 3)
    assert "failed: the driver died while proposing it" in note_of(handle, FAILED)
    assert "![predictions]" not in note_of(handle, 3)
    assert note_of(handle, RUNNING) == ""


def test_study_note_lists_settings_states_and_front(handle):
    lines = [line.replace("\N{EM SPACE}", "") for line in study_note(handle).splitlines()]
    assert "| limits | params<=0.5M |" in lines
    assert "| objectives | maximize dice, minimize params |" in lines
    rows = [line.split(" | ") for line in lines[lines.index("### Front") :] if line[-1:] == "|"]
    numbers = [int(row[0].removeprefix("| ")) for row in rows[2:]]
    best_first = sorted(handle.front(), key=lambda t: -t.values["dice"])
    assert numbers == [t.number for t in best_first]


def test_note_says_when_there_is_nothing_to_predict_with(handle):
    assert "No picture of predictions" in trial_note(handle.trial(0), {"arch": "/a"})
    assert "No picture of predictions" not in trial_note(handle.trial(0), {"predictions": "/p"})
    assert "No picture of predictions" not in trial_note(handle.trial(3), {"arch": "/a"})


def test_trials_that_end_later_and_lost_weights_are_met_by_the_next_sync(tmp_path, prepared):
    writer = Writer(tmp_path / "store", prepared)
    point = dict(SPACE.baselines["ultralight-t"].point)
    writer.add(make_arch(prepared, point), "complete")
    handle = writer.handle()
    assert sync(handle) == 1
    old = get_plotly_graph_objects(attributes(handle))["front-params-dice"]
    writer.add(make_arch(prepared, {**point, "width": 8}), "complete")
    handle.store.path("weights", handle.trial(1).evaluation.weights).unlink()
    assert sync(handle) == 1
    assert get_plotly_graph_objects(attributes(handle))["front-params-dice"] != old
    assert list(artifacts_of(handle, 1)) == ["trial-1-arch.png"]


def test_notes_that_the_user_edited_stay(tmp_path, prepared):
    from optuna_dashboard import save_note

    writer = Writer(tmp_path / "store", prepared)
    writer.add(None, "failed")
    handle = writer.handle()
    sync(handle)
    save_note(handle.optuna_study, "mine")
    save_note(optuna.trial.Trial(handle.optuna_study, trial_id(handle, 0)), "mine too")
    writer.add(None, "failed")
    assert sync(handle) == 1
    assert get_note(handle.optuna_study) == "mine"
    assert note_of(handle, 0) == "mine too"


def test_study_note_follows_the_search_while_nobody_edits_it(tmp_path, prepared):
    writer = Writer(tmp_path / "store", prepared)
    handle = writer.handle()
    sync(handle)
    assert "none yet" in get_note(handle.optuna_study)
    writer.add(None, "failed")
    sync(handle)
    assert "1 failed" in get_note(handle.optuna_study)


def test_a_sync_that_broke_off_leaves_no_second_picture(tmp_path, prepared, monkeypatch):
    import dashboard.sync

    writer = Writer(tmp_path / "store", prepared)
    writer.add(make_arch(prepared, SPACE.baselines["ultralight-t"].point), "infeasible")
    handle = writer.handle()
    with monkeypatch.context() as patch:
        patch.setattr(dashboard.sync, "trial_note", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            sync(handle)
    assert len(artifacts_of(handle, 0)) == 1
    assert sync(handle) == 1
    assert len(artifacts_of(handle, 0)) == 1
    assert len(list((handle.store.folder / "artifacts").iterdir())) == 1


def raise_interrupt(*_):
    raise KeyboardInterrupt


def test_refresher_looks_only_at_studies_that_changed(tmp_path, prepared, monkeypatch, capsys):
    writer = Writer(tmp_path / "store", prepared)
    writer.add(None, "failed")
    storage = open_storage(writer.store)
    optuna.create_study(study_name="foreign", storage=storage)
    refresher = Refresher(writer.store, storage, threading.Lock())
    assert refresher.run_once() == 1
    runs = []
    monkeypatch.setattr(app.Sync, "run", lambda self: runs.append(self.handle.name) or 0)
    assert refresher.run_once() == 0
    assert runs == []
    writer.add(None, "failed")
    refresher.run_once()
    assert runs == ["demo"]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("study 'foreign' is shown without our plots")


def test_sync_beside_a_search_loses_nothing(tmp_path, prepared):
    writer = Writer(tmp_path / "store", prepared)
    handle = writer.handle()
    ended = threading.Event()

    def search():
        for _ in range(15):
            writer.add(None, "failed")
        ended.set()

    thread = threading.Thread(target=search)
    thread.start()
    notes = 0
    while not ended.is_set():
        notes += sync(handle)
    thread.join()
    assert notes + sync(handle) == 15
    assert [t.state for t in handle.trials()] == ["failed"] * 15


def test_a_study_deleted_on_the_page_is_let_go(tmp_path, prepared):
    writer = Writer(tmp_path / "store", prepared)
    storage = open_storage(writer.store)
    refresher = Refresher(writer.store, storage, threading.Lock())
    refresher.run_once()
    known = dict(refresher._syncs)
    optuna.delete_study(study_name="demo", storage=storage)
    assert refresher._sync(next(iter(known)), "demo") == 0
    assert refresher.run_once() == 0


def test_a_taken_port_is_refused_with_a_way_out(tmp_path, prepared):
    Writer(tmp_path / "store", prepared)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput, match=rf"port must be free, {port} is not .*--port"):
            serve(tmp_path / "store", port=port)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_does_not_exist_is_refused(tmp_path, prepared, port):
    Writer(tmp_path / "store", prepared)
    with pytest.raises(InvalidInput, match=f"port must be from 0 to 65535, got {port}"):
        serve(tmp_path / "store", port=port)


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="no store in"):
        serve(tmp_path / "nothing")


def test_pages_are_served_on_this_machine_alone(tmp_path, prepared, monkeypatch):
    writer = Writer(tmp_path / "store", prepared)
    writer.add(None, "failed")
    servers = []
    listen = app._listen
    monkeypatch.setattr(app, "_listen", lambda port: servers.append(listen(port)) or servers[0])
    printed = os.pipe()
    with os.fdopen(printed[0]) as reader, os.fdopen(printed[1], "w") as out:
        monkeypatch.setattr("sys.stdout", out)
        thread = threading.Thread(target=serve, args=(tmp_path / "store",), kwargs={"port": 0})
        thread.start()
        url = urlparse(reader.readline().strip())
        assert (url.hostname, url.path) == ("127.0.0.1", "/dashboard/")
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
        with socket.create_connection((url.hostname, url.port)):  # an idle one, as browsers keep
            connection.request("GET", "/api/studies/1")
            study = json.loads(connection.getresponse().read())
        servers[0].shutdown()
        thread.join()
    assert study["name"] == "demo"
