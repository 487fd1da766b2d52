import pytest
import torch
from torch import nn

from nas.data import Prepared, Samples
from nas.losses import LOSSES
from nas.metrics import dice_per_image
from nas.score import predict, score
from nas.slot import DeviceSlot

LOSS = LOSSES["balanced-ce+dice"]


def make_samples(sizes, frame):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (len(sizes), 1, *frame), generator=generator, dtype=torch.uint8)
    masks = (images[:, 0] > 127).to(torch.uint8)
    heights, widths = torch.tensor(sizes).unbind(1)
    return Samples(images, masks, heights, widths, tuple(f"s{k}" for k in range(len(sizes))))


def make_prepared(size, fit):
    return Prepared.from_json({
        "cache": "unused", "fingerprint": "0" * 12, "in_channels": 1, "classes": 1, "size": size,
        "fit": fit, "mean": [0.5], "std": [0.25], "split": {"train": [], "val": [], "test": []},
        "skipped": [], "deep": False,
    })  # fmt: skip


class Threshold(nn.Module):
    """Foreground where the normalised image is positive, which is where the mask is set."""

    def forward(self, x):
        return x * 10


@pytest.fixture
def slot(tmp_path):
    with DeviceSlot(torch.device("cpu"), tmp_path) as made:
        yield made


def test_a_net_that_knows_the_rule_scores_one(slot):
    samples = make_samples([(32, 32)] * 3, (32, 32))
    found = score(Threshold(), samples, make_prepared(32, "resize"), LOSS, slot)
    assert found.dice == pytest.approx(1)
    assert found.iou == pytest.approx(1)
    assert found.dice_per_image == pytest.approx((1, 1, 1))


def test_a_blind_net_scores_what_everything_foreground_scores(slot):
    samples = make_samples([(32, 32)] * 20, (32, 32))  # more than one batch
    net = nn.Conv2d(1, 1, 1)
    nn.init.zeros_(net.weight)
    nn.init.ones_(net.bias)
    found = score(net, samples, make_prepared(32, "resize"), LOSS, slot)
    everything = dice_per_image(torch.ones_like(samples.masks), samples.masks, 1)
    assert found.dice == pytest.approx(everything.mean().item())
    assert found.dice_per_image == pytest.approx(everything.tolist())


def test_the_loss_is_the_mean_over_images_whatever_the_batches(slot):
    net = Threshold()
    prepared = make_prepared(32, "resize")
    samples = make_samples([(32, 32)] * 17, (32, 32))  # a batch of 16 and one of 1
    found = score(net, samples, prepared, LOSSES["ce+iou"], slot)
    x = (samples.images.float() / 255 - 0.5) / 0.25
    alone = [LOSSES["ce+iou"](net(x[k : k + 1]), samples.masks[k : k + 1]) for k in range(17)]
    assert found.loss == pytest.approx(torch.stack(alone).mean().item(), rel=1e-5)


def test_the_padding_of_a_frame_is_neither_shown_to_the_net_nor_scored(slot):
    sizes = [(40, 56), (40, 56), (64, 33), (64, 64)]
    clean, dirty = make_samples(sizes, (64, 64)), make_samples(sizes, (64, 64))
    for k, (height, width) in enumerate(sizes):
        dirty.images[k, :, height:] = dirty.images[k, :, :, width:] = 255
        dirty.masks[k, height:] = dirty.masks[k, :, width:] = 0
    net = nn.Conv2d(1, 1, 5, padding=2)
    prepared = make_prepared(32, "crop")
    one, two = (score(net, samples, prepared, LOSS, slot) for samples in (clean, dirty))
    assert one == two


def test_sliding_windows_leave_no_seams_where_a_net_looks_at_single_pixels():
    x = torch.randn(2, 1, 70, 45, generator=torch.Generator().manual_seed(0))
    out = predict(Threshold(), x, size=32, fit="crop")
    assert out.shape == x.shape
    assert torch.allclose(out, x * 10, atol=1e-4)


def test_scoring_leaves_the_net_in_eval_mode_and_its_norms_untouched(slot):
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1)).train()
    before = net[0].running_mean.clone()
    score(net, make_samples([(32, 32)] * 2, (32, 32)), make_prepared(32, "resize"), LOSS, slot)
    assert not net.training
    assert torch.equal(net[0].running_mean, before)
