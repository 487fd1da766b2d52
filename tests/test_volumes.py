"""A whole search on volumes, and all that comes after it."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

import nas
from dashboard.masks import draw_predictions
from dashboard.notes import study_note, trial_note
from dashboard.sync import sync
from nas.data import open_data
from nas.export import BOUND
from nas.handle import StudyHandle
from nas.metrics import dice_per_class, labels
from nas.score import predict
from tests.commands import run
from tests.nas.niftis import write_volumes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyHandle:
    folder = tmp_path_factory.mktemp("volumes")
    data = write_volumes(folder / "balls", 12)
    return nas.search(
        "ultralight3d",
        "dice,params",
        data=str(data),
        store=folder / "store",
        device="cpu",
        trials=2,
        epochs=1,
        workers=1,
    )


def test_two_published_networks_are_trained_and_scored_by_class(study) -> None:
    trials = study.trials()
    assert [t.baseline for t in trials] == ["ultralight3d-t", "ultralight3d-s"]
    assert [t.state for t in trials] == ["complete"] * 2
    evaluation = trials[0].evaluation
    assert len(evaluation.dice_per_class) == 2
    val = open_data(study.prepared, torch.device("cpu")).val
    found = []
    for k, size in enumerate(val.sizes):
        own = tuple(map(slice, size))
        with torch.inference_mode():
            guess = labels(
                predict(study.net(0), val.images[k : k + 1, :, *own], size=32, fit="crop")
            )
        found.append(dice_per_class(guess, val.masks[k : k + 1, *own], 3))
    table = torch.cat(found)
    assert evaluation.dice_per_class == pytest.approx(table.nanmean(0).tolist(), abs=1e-4)
    assert evaluation.dice == pytest.approx(table.nanmean(1).mean().item(), abs=1e-4)


def test_the_commands_tell_of_the_study(study) -> None:
    store = study.store.folder
    shown = run(f"show {study.name} 0 --store {store}").stdout
    assert "Dice per class, mean of images: label 1: 0." in shown
    assert run(f"front {study.name} --store {store}").exit_code == 0
    assert "ultralight3d" in run(f"status {store}").stdout


def test_the_dashboard_shows_slices(study) -> None:
    assert draw_predictions(study, 0)[1:4] == b"PNG"
    assert "crop to 32 x 32 x 32 voxels" in study_note(study)
    assert "Dice of label 2" in trial_note(study.trial(0), {})
    assert sync(study) == 2


def test_the_exported_files_agree_and_label_a_file(study, tmp_path: Path) -> None:
    report = study.export(0, tmp_path / "out")
    assert {d.shape[2:] for d in report.differences} == {(32, 32, 32), (64, 64, 64)}
    assert max(d.value for d in report.differences) <= BOUND
    facts = json.loads((tmp_path / "out" / "preprocess.json").read_text())
    assert (facts["spacing"], facts["size"], facts["overlap"]) == ([1, 1, 1], 32, 0.25)
    stem = study.prepared.split["val"][0]
    source = Path(study.settings.data) / "images" / f"{stem}.nii.gz"
    command = [sys.executable, "-I", "model.py", str(source), str(tmp_path / "labels.nii.gz")]
    ran = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    written = nibabel.load(tmp_path / "labels.nii.gz")
    assert np.allclose(written.affine, nibabel.load(source).affine)
    val = open_data(study.prepared, torch.device("cpu")).val
    own = tuple(map(slice, val.sizes[0]))
    with torch.inference_mode():
        guess = labels(predict(study.net(0), val.images[:1, :, *own], size=32, fit="crop"))[0]
    assert (np.asarray(written.dataobj) == guess.numpy()).mean() > 0.999
