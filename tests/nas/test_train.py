from dataclasses import replace

import pytest
import torch

from nas import baseline
from nas.augment import Augment
from nas.data import Data, Prepared, Samples
from nas.recipes import RECIPES
from nas.score import score
from nas.slot import DeviceSlot
from nas.task import TrainingFailed
from nas.train import Training
from search_spaces.nets.classic import rolling_unet

ARCH = baseline("ultralight-t", in_channels=1)
DROPPING = replace(rolling_unet((4, 4, 4, 8, 8), dropout=0.3), in_channels=1)
FAST = replace(RECIPES["fast"], batch=2, augment=Augment.none())


@pytest.fixture
def brief(monkeypatch):
    """An epoch has four steps in place of twenty."""
    monkeypatch.setattr("nas.recipes._MIN_STEPS", 4)


def make_samples(count, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 1, 64, 64), generator=generator, dtype=torch.uint8)
    sides = torch.full((count,), 64)
    masks = (images[:, 0] > 127).to(torch.uint8)
    return Samples(images, masks, sides, sides, tuple(map(str, range(count))))


@pytest.fixture
def start(tmp_path):
    prepared = Prepared.from_json({
        "cache": "unused", "fingerprint": "0" * 12, "in_channels": 1, "classes": 1, "size": 64,
        "fit": "resize", "mean": [0.5], "std": [0.25], "skipped": [], "deep": False,
        "split": {"train": [], "val": [], "test": []},
    })  # fmt: skip
    data = Data(make_samples(4, 0), make_samples(2, 1))
    with DeviceSlot(torch.device("cpu"), tmp_path) as slot:
        yield lambda recipe=FAST, epochs=2, seed=0, arch=ARCH: Training(
            arch, data, prepared, recipe, epochs=epochs, seed=seed, slot=slot
        )


def rates(training, steps):
    found = []
    for step in steps:
        training.scheduler.step_update(step)
        found.append(training.optimizer.param_groups[0]["lr"])
    return found


def test_the_rate_rises_over_a_tenth_of_the_steps_and_falls_to_a_hundredth(start):
    training = start(epochs=10)  # 200 steps
    first, peak, middle, last = rates(training, (0, 20, 100, 199))
    assert first == pytest.approx(FAST.lr / 100)
    assert peak == pytest.approx(FAST.lr, rel=0.03)
    half_way = (FAST.lr + FAST.lr / 100) / 2  # where a cosine is at half time
    assert middle == pytest.approx(half_way)
    assert last == pytest.approx(FAST.lr / 100, rel=0.02)


def test_the_rate_of_the_paper_recipe_never_changes(start):
    training = start(RECIPES["ultralight"])
    assert rates(training, (0, 1, 20, 39)) == pytest.approx([1e-4] * 4)


def test_only_weights_of_two_and_more_dimensions_decay(start):
    groups = start().optimizer.param_groups
    for group in groups:
        decayed = group["weight_decay"] > 0
        assert all((p.ndim > 1) == decayed for p in group["params"])
    assert sum(p.numel() for g in groups for p in g["params"]) == 27353


def test_scales_give_legal_sides_and_labels_stay_labels(start):
    training = start(replace(FAST, scales=(0.75, 1.0, 1.25, 1.5)))
    x, y = torch.rand(2, 1, 128, 128), torch.randint(0, 3, (2, 128, 128))
    sides = set()
    for step in range(40):
        scaled, labels = training._scaled(x, y, step)
        assert scaled.shape[-2:] == labels.shape[-2:]
        assert set(labels.unique().tolist()) <= {0, 1, 2}
        sides.add(scaled.shape[-1])
    assert sides == {96, 128, 160, 192}  # 0.75, 1, 1.25, 1.5 of 128, multiples of 32


def test_an_epoch_counts_its_steps_and_the_best_epoch_is_kept(start):
    training = start()
    rows = [training.run_epoch(), training.run_epoch()]
    assert [row.epoch for row in rows] == [1, 2]
    assert training.steps == 40
    assert training.done
    best = max(rows, key=lambda row: row.dice)
    assert training.best.dice == best.dice
    assert training.best_epoch == best.epoch
    # The kept weights are those of the best epoch, not of the last.
    same = all(torch.equal(training.best_state[k], v) for k, v in training.net.state_dict().items())
    assert same == (training.best_epoch == 2)


@pytest.mark.usefixtures("brief")
def test_what_is_dropped_is_the_same_after_a_kill(start, tmp_path):
    whole, killed, heir = (start(arch=DROPPING) for _ in range(3))
    for training in (whole, killed):
        training.run_epoch()
    settled = whole.settled_loss()
    killed.save(tmp_path / "checkpoint")
    torch.rand(7)  # another process has drawn other numbers by then
    heir.load(tmp_path / "checkpoint")
    assert heir.settled_loss() == settled
    assert heir.run_epoch().train_loss == whole.run_epoch().train_loss
    ours, theirs = heir.net.state_dict(), whole.net.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_training_lowers_the_loss(start):
    training = start(epochs=3)
    first, *_, last = [training.run_epoch().train_loss for _ in range(3)]
    assert last < first


def test_a_loss_that_is_not_finite_ends_the_training_with_the_reason(start):
    with pytest.raises(TrainingFailed, match=r"loss is nan in epoch 1"):
        start(replace(FAST, lr=float("inf"), clip=None, warmup=0.0)).run_epoch()


def test_the_average_keeps_more_of_itself_with_every_step(start):
    training = start(replace(FAST, ema=0.75))
    (name, weight), *_ = training.net.named_parameters()
    mean, values = None, []
    for step in range(12):
        training._step(step)
        values.append(weight.detach().clone())
        kept = min(0.75, 1 - (1 + step) ** (-2 / 3))  # 0 at first: the average begins with a copy
        mean = values[-1] if mean is None else kept * mean + (1 - kept) * values[-1]
    averaged = training.averaged.module
    torch.testing.assert_close(averaged.state_dict()[name], mean, rtol=0, atol=1e-6)
    assert (mean - values[-1]).abs().max() > 1e-4


@pytest.mark.usefixtures("brief")
def test_statistics_of_norms_are_averaged_and_their_counters_copied(start):
    training = start(replace(FAST, ema=0.9))
    name = next(n for n, _ in training.net.named_buffers() if n.endswith("running_mean"))
    values = []
    for step in range(2):
        training._step(step)
        values.append(training.net.state_dict()[name].clone())
    kept = 1 - 2 ** (-2 / 3)
    averaged = training.averaged.module.state_dict()
    expected = kept * values[0] + (1 - kept) * values[1]
    torch.testing.assert_close(averaged[name], expected, rtol=0, atol=1e-6)
    assert averaged[name.replace("running_mean", "num_batches_tracked")] == 2


@pytest.mark.usefixtures("brief")
def test_the_average_is_what_is_scored_and_kept_and_training_never_sees_it(start):
    plain, averaged = start(), start(replace(FAST, ema=0.9))
    rows = [(plain.run_epoch(), averaged.run_epoch()) for _ in range(2)]
    assert [a.train_loss for a, _ in rows] == [b.train_loss for _, b in rows]
    assert all(a.val_loss != b.val_loss for a, b in rows)
    weights = averaged.averaged.module.state_dict()
    same = all(torch.equal(averaged.best_state[k], v) for k, v in weights.items())
    assert same == (averaged.best_epoch == 2)
    kept = score(
        averaged.scored, averaged.data.val, averaged.prepared, averaged.loss, averaged.slot
    )
    assert kept.loss == rows[-1][1].val_loss


@pytest.mark.usefixtures("brief")
def test_the_settled_loss_depends_on_weights_alone_and_leaves_no_trace(start):
    plain, asked = start(), start()
    plain.run_epoch(), asked.run_epoch()
    settled = asked.settled_loss()
    lagging = score(asked.net, asked.data.val, asked.prepared, asked.loss, asked.slot).loss
    for module in asked.net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.fill_(9.0)
    assert asked.settled_loss() == settled
    assert settled != lagging
    asked.net.load_state_dict(plain.net.state_dict())
    rows = plain.run_epoch(), asked.run_epoch()
    assert rows[0].train_loss == rows[1].train_loss
    assert rows[0].val_loss == rows[1].val_loss


@pytest.mark.usefixtures("brief")
def test_a_settled_loss_that_is_not_finite_fails_the_training(start):
    training = start()
    training.run_epoch()
    with torch.no_grad():
        next(training.net.parameters()).fill_(torch.inf)
    with pytest.raises(TrainingFailed, match="validation loss is nan after epoch 1"):
        training.settled_loss()
