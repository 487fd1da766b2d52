from dataclasses import replace

import numpy as np
import pytest
import torch

from nas import space
from nas.costs import measure_costs
from nas.objectives import parse_limit
from nas.plan import DEFAULTS, find_device, make_plan, read_file
from nas.trained_table import begin_table
from primitives.core.errors import InvalidInput
from tests.commands import write_images
from tests.nas.niftis import write_nifti, write_volumes
from tests.nas.test_trained_table import PLAN

CHOICE = {"space": "ultralight", "objectives": ("dice", "latency"), "device": "cpu", "epochs": 3}


def plan(**options):
    return make_plan({**CHOICE, **options})


def test_what_is_not_chosen_comes_from_the_device():
    made = plan()
    assert made.run.trials == DEFAULTS["cpu"].trials
    assert made.study.data == "phantom"
    assert made.study.name == "ultralight-phantom"
    assert made.study.size == DEFAULTS["cpu"].phantom_size
    assert made.study.recipe == "fast"


@pytest.mark.parametrize(("step_seconds", "epochs"), [(0.01, 16), (0.25, 16), (0.3, 12), (9.0, 10)])
def test_a_slow_cpu_trains_the_embedded_images_for_fewer_epochs(monkeypatch, step_seconds, epochs):
    # 6 trials of 20 steps an epoch, two at once: 60 steps an epoch, in 240 seconds
    monkeypatch.setattr("nas.plan.seconds_per_step", lambda *_: step_seconds)
    assert make_plan({"workers": 2, **CHOICE, "epochs": None}).study.epochs == epochs


def test_a_study_that_exists_keeps_what_is_not_chosen_again(tmp_path, monkeypatch):
    made = plan(store=str(tmp_path), seed=5, constraints=("params<=0.5M",), recipe="ultralight")
    monkeypatch.setattr("nas.plan.stored_study", lambda store, name: made.study)
    again = make_plan({"space": "ultralight", "objectives": ("dice", "latency"), "trials": 9})
    assert again.study == made.study
    assert again.run.trials == 9
    assert plan(seed=6).study == replace(made.study, seed=6)
    assert plan(constraints=("none",)).study.constraints == ()


def test_the_default_bound_on_a_cpu_lets_the_first_three_baselines_in():
    study = plan(size=96).study
    (limit,) = map(parse_limit, study.constraints)
    published = space("ultralight").baselines
    for name in ("ultralight-t", "ultralight-s", "ultralight-base"):
        costs = measure_costs(space("ultralight").arch(published[name].point), 96)
        assert limit.excess(costs.macs) <= 0
    costs = measure_costs(space("ultralight").arch(published["ultralight-m"].point), 96)
    assert limit.excess(costs.macs) > 0


def test_a_constraint_of_the_user_replaces_the_default_and_none_lifts_it():
    assert plan(constraints=("params<=0.5M",)).study.constraints == ("params<=0.5M",)
    assert plan(constraints=("none",)).study.constraints == ()


def test_a_study_file_is_read_and_its_fields_are_the_plan(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(
        'space = "ultralight"\nobjectives = ["dice", "params"]\nsize = 96\ntrials = 5\n'
        'epochs = 3\ndevice = "cpu"\nname = "mine"\nstore = "there"\n'
    )
    made = make_plan(read_file(path))
    assert made.study.objectives == ("dice", "params")
    assert (made.study.size, made.study.epochs, made.run.trials) == (96, 3, 5)
    assert (made.study.name, str(made.store)) == ("mine", "there")


VOLUMES = {"space": "ultralight3d", "constraints": ("none",)}


def test_volumes_get_patches_that_fit_into_them_and_a_recipe_of_their_own(tmp_path):
    folder = write_volumes(tmp_path / "set", 2)
    made = plan(**VOLUMES, data=str(folder)).study
    assert (made.size, made.fit, made.recipe) == (32, "crop", "fast3d")
    for k in range(3):
        write_nifti(folder / "images" / f"big{k}.nii.gz", np.zeros((70, 90, 65), np.uint8))
    assert plan(**VOLUMES, data=str(folder)).study.size == 64
    assert plan(**VOLUMES, data=str(folder), size=96, recipe="fast").study.recipe == "fast"


def test_volumes_are_trained_for_as_many_epochs_as_half_an_hour_allows(tmp_path, monkeypatch):
    folder = write_volumes(tmp_path / "set", 4)
    # 6 trials of 20 steps an epoch, two at once: 60 steps an epoch, in 1800 seconds
    monkeypatch.setattr("nas.plan.seconds_per_step", lambda *_: 2.0)
    options = {**CHOICE, **VOLUMES, "epochs": None, "workers": 2, "data": str(folder)}
    assert make_plan(options).study.epochs == 12


def test_a_space_and_data_that_do_not_suit_each_other_are_refused_with_the_way_out(tmp_path):
    volumes = write_volumes(tmp_path / "volumes", 2)
    write_images(tmp_path / "images", 2)
    flat = "lgms or medunext or mixed or timm or uconvnext or ultralight or unet"
    refusals = {
        ("ultralight3d", str(tmp_path / "images")): "is for volumes, .*images holds images; use "
        f"--space {flat}, or name a folder of NIfTI volumes with --data",
        ("ultralight", str(volumes)): "is for images, .*volumes holds volumes .NIfTI.; use "
        "--space lgms3d or mixed3d or ultralight3d",
        ("lgms3d", "phantom"): f"is for volumes, phantom holds images; use --space {flat}, or name",
        ("mednext", str(volumes)): "a search trains segmentation, space 'mednext' is for "
        "classification; `nas spaces` lists the others",
    }
    for (name, data), message in refusals.items():
        with pytest.raises(InvalidInput, match=message):
            plan(space=name, data=data)


def test_volumes_are_never_resized(tmp_path):
    folder = write_volumes(tmp_path / "set", 2)
    with pytest.raises(InvalidInput, match="fit must be 'crop' for volumes, got 'resize'"):
        plan(**VOLUMES, data=str(folder), fit="resize")


def test_a_table_to_learn_from_is_kept_by_its_whole_path(tmp_path, monkeypatch):
    begin_table(tmp_path / "table.jsonl", PLAN)
    monkeypatch.chdir(tmp_path)
    assert plan(warm_start="table.jsonl").study.warm_start == str(tmp_path / "table.jsonl")
    begin_table(tmp_path / "other.jsonl", replace(PLAN, space="unet"))
    with pytest.raises(InvalidInput, match=r"trainings of space 'ultralight', got .* 'unet'"):
        plan(warm_start="other.jsonl")


def test_auto_takes_a_device_that_is_there():
    assert torch.empty(1, device=find_device("auto")).numel() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 100}, r"size must be a multiple of 32 .* got 100; 96 would do"),
        ({"space": "ultralite"}, "did you mean 'ultralight'"),
        ({"objectives": ("dise",)}, "did you mean 'dice'"),
        ({"objectives": ()}, "one to four objectives, got 0"),
        ({"objectives": ("dice", "dice")}, "objectives must differ"),
        ({"constraints": ("params<=0.5",)}, "params needs a unit"),
        ({"constraints": ("latency<=20parsec",)}, "unknown unit 'parsec'"),
        ({"constraints": ("dice<=0.5M",)}, "must be known before training"),
        ({"recipe": "slow"}, "recipe must be one of"),
        ({"sampler": "tpee"}, "did you mean 'tpe'"),
        ({"fidelity": "ashaa"}, "did you mean 'mo-asha'"),
        ({"fidelity": "model", "objectives": ("macs", "params")}, "got 'macs,params'; use mo-asha"),
        ({"warm_start": "mine"}, "warm_start must be another study of .*, got 'mine'; `nas status"),
        ({"fit": "stretch"}, "fit must be 'resize' or 'crop'"),
        ({"trials": 0}, "trials must be 1 or more, got 0"),
        ({"epochs": 0}, "epochs must be 1 or more, got 0"),
        ({"workers": 0}, "workers must be 1 or more, got 0"),
        ({"seconds": -1.0}, "time must be positive"),
        ({"data": "/no/such/folder"}, "data must be 'phantom' or a folder"),
        ({"device": "tpu"}, "device must be one of"),
        ({"epoch": 3}, "did you mean 'epochs'"),
    ],
)
def test_a_wrong_choice_is_refused_with_the_rule_and_the_value(options, message):
    with pytest.raises(InvalidInput, match=message):
        plan(**options)
