import torch

from nas.augment import Augment
from nas.data import Batcher, Prepared, Samples, normalise


def numbered(count, height, width):
    """Make pictures whose pixels tell sample, row and column; labels tell the row."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
    images = torch.stack(
        [torch.stack((torch.full((height, width), k), rows + 0 * columns, columns + 0 * rows))
         for k in range(count)]
    ).float() / 255  # fmt: skip
    masks = (rows + 0 * columns).expand(count, -1, -1).to(torch.uint8)
    return Samples(
        images,
        masks.contiguous(),
        torch.full((count,), height),
        torch.full((count,), width),
        tuple(map(str, range(count))),
    )


def plain(size, channels=3):
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    return Prepared("", "", channels, 1, size, "crop", zeros, ones, {}, (), True)


def drawn(batcher, steps):
    return [
        int(k) for step in steps for k in (batcher.draw(step)[0][:, 0, 0, 0] * 255).round().tolist()
    ]


def test_each_pass_takes_every_sample_once_in_another_order():
    batcher = Batcher(numbered(7, 32, 32), plain(32), batch=4, augment=Augment.none(), seed=0)
    order = drawn(batcher, range(7))
    passes = [order[k : k + 7] for k in range(0, 28, 7)]
    assert all(sorted(one) == list(range(7)) for one in passes)
    assert len({tuple(one) for one in passes}) > 1


def test_a_batch_larger_than_the_set_spans_several_passes():
    batcher = Batcher(numbered(3, 32, 32), plain(32), batch=8, augment=Augment.none(), seed=0)
    order = drawn(batcher, range(3))
    assert sorted(order) == sorted([0, 1, 2] * 8)
    assert sorted(order[6:9]) == [0, 1, 2]


def test_a_draw_depends_on_seed_and_step_alone():
    samples = numbered(7, 50, 40)
    steady = Batcher(samples, plain(32), batch=4, augment=Augment(), seed=3)
    draws = [steady.draw(step) for step in range(6)]
    resumed = Batcher(samples, plain(32), batch=4, augment=Augment(), seed=3)
    for step in (5, 2):
        for before, after in zip(draws[step], resumed.draw(step), strict=True):
            assert torch.equal(before, after)
    other = Batcher(samples, plain(32), batch=4, augment=Augment(), seed=4)
    assert not torch.equal(other.draw(5)[0], draws[5][0])


def test_crops_are_windows_of_the_picture_with_the_matching_mask_at_every_place():
    batcher = Batcher(numbered(5, 36, 34), plain(32), batch=5, augment=Augment.none(), seed=0)
    corners = set()
    for step in range(40):
        x, y = batcher.draw(step)
        assert x.shape == (5, 3, 32, 32)
        assert y.dtype == torch.int64
        rows, columns = ((x[:, k] * 255).round().long() for k in (1, 2))
        assert torch.equal(rows, y)
        assert torch.equal(rows - rows[:, :1, :1], torch.arange(32)[:, None].expand(5, -1, 32))
        assert torch.equal(columns - columns[:, :1, :1], torch.arange(32).expand(5, 32, -1))
        corners |= set(zip(rows[:, 0, 0].tolist(), columns[:, 0, 0].tolist(), strict=True))
    assert corners == {(row, column) for row in range(5) for column in range(3)}


def test_crops_stay_inside_pictures_smaller_than_the_frame():
    samples = numbered(2, 60, 60)
    samples.heights[:] = torch.tensor([20, 40])
    samples.widths[:] = torch.tensor([33, 60])
    batcher = Batcher(samples, plain(32), batch=2, augment=Augment.none(), seed=0)
    for step in range(50):
        x, y = batcher.draw(step)
        for picture_ in range(2):
            which = int((x[picture_, 0, 0, 0] * 255).round())
            columns = (x[picture_, 2] * 255).round()
            assert y[picture_].max() < (32, 40)[which]
            assert columns.max() < (33, 60)[which]


def test_batches_are_normalised_after_augmentation():
    samples = numbered(3, 32, 32)
    shifted = Prepared("", "", 3, 1, 32, "resize", (0.5,) * 3, (0.25,) * 3, {}, (), True)
    plain_, _ = Batcher(samples, plain(32), batch=2, augment=Augment(), seed=1).draw(0)
    scaled, _ = Batcher(samples, shifted, batch=2, augment=Augment(), seed=1).draw(0)
    torch.testing.assert_close(scaled, normalise(plain_, (0.5,) * 3, (0.25,) * 3))
    torch.testing.assert_close(scaled, (plain_ - 0.5) / 0.25)
