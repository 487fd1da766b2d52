from dataclasses import replace

import torch

from nas.augment import Augment, augment
from nas.batches import Batcher
from nas.data import Prepared
from nas.patches import find_foreground, windows
from nas.samples import Samples


def numbered(sizes, frame):
    """Make volumes whose voxels tell where they are, with one voxel of class 1 and one of 2."""
    grid = torch.stack(torch.meshgrid(*map(torch.arange, frame), indexing="ij")).float()
    images = grid.expand(len(sizes), -1, -1, -1, -1).contiguous()
    masks = torch.zeros(len(sizes), *frame, dtype=torch.uint8)
    masks[:, 0, 0, 0], masks[:, 35, 3, 3] = 1, 2
    depths, heights, widths = torch.tensor(sizes).unbind(1)
    return Samples(images, masks, heights, widths, tuple(map(str, range(len(sizes)))), depths)


def test_windows_are_cubes_cut_out_of_volumes_and_reach_every_corner():
    samples = numbered([(40, 33, 32)], (40, 33, 32))
    generator = torch.Generator().manual_seed(0)
    index = torch.zeros(300, dtype=torch.long)
    x, y = windows(samples, index, 32, [[]], generator)
    assert x.shape == (300, 3, 32, 32, 32)
    assert y.shape == (300, 32, 32, 32)
    corners = x[:, :, 0, 0, 0]
    assert {tuple(c) for c in corners.int().tolist()} == {
        (a, b, 0) for a in range(9) for b in (0, 1)
    }
    assert torch.equal(x[:, 0, -1, 0, 0] - x[:, 0, 0, 0, 0], torch.full((300,), 31.0))


def test_a_third_of_the_windows_surely_holds_a_class_drawn_at_random():
    samples = numbered([(96, 36, 36)], (96, 36, 36))
    index = torch.zeros(600, dtype=torch.long)
    _, y = windows(samples, index, 32, find_foreground(samples), torch.Generator().manual_seed(0))
    one, two = ((y == k).flatten(1).any(1).float().mean().item() for k in (1, 2))
    # Class 1 is in one corner: a sixth forced, of the others 1 of 65 x 5 x 5 windows.
    assert 0.12 < one < 0.21
    # Class 2: a sixth forced, of the others 32 of 65 along the first axis, all but 1 of 5 twice.
    expected = 1 / 6 + (2 / 3) * (32 / 65) * (4 / 5) ** 2
    assert abs(two - expected) < 0.06


def test_draws_depend_on_seed_and_step_alone_and_small_volumes_are_filled_with_zeros():
    samples = numbered([(40, 33, 32), (36, 20, 10)], (40, 33, 32))
    samples.images[1, :, :, 20:] = 0
    samples = replace(samples, images=samples.images[:, :1])
    prepared = Prepared("", "", 1, 3, 32, "crop", (0.0,), (1.0,), {}, (), True, 3)
    made = [Batcher(samples, prepared, batch=3, augment=Augment(), seed=4) for _ in range(2)]
    first = [made[0].draw(step) for step in range(3)]
    x, y = made[1].draw(2)
    assert torch.equal(x, first[2][0])
    assert torch.equal(y, first[2][1])
    assert y.dtype == torch.long
    assert x.shape == (3, 1, 32, 32, 32)


def test_volumes_are_flipped_left_right_alone():
    x = torch.arange(2 * 3 * 4, dtype=torch.float32).view(1, 1, 2, 3, 4).repeat(40, 1, 1, 1, 1)
    y = x[:, 0].to(torch.uint8)
    flips = Augment(True, True, 0, 0, 0, 0, 0, 0, 0)
    turned, labels = augment(x, y, torch.Generator().manual_seed(0), flips)
    kept = (turned == x).flatten(1).all(1)
    mirrored = (turned == x.flip(2)).flatten(1).all(1)
    assert (kept ^ mirrored).all()
    assert 10 < kept.sum() < 30
    assert torch.equal(labels.float(), turned[:, 0])


def test_intensities_of_volumes_change_by_sample_and_labels_do_not():
    x = torch.randn(4, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).to(torch.uint8)
    tones = Augment(False, False, 0, 0, 0, 0.1, 0.1, 0.1, 0.01)
    changed, labels = augment(x, y, torch.Generator().manual_seed(0), tones)
    assert torch.equal(labels, y)
    assert (changed - x).abs().amax((1, 2, 3, 4)).min() > 0
    assert torch.corrcoef(torch.stack((changed.flatten(), x.flatten())))[0, 1] > 0.95
