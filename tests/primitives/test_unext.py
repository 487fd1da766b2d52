import torch

from primitives.unext import ShiftedMLP, shift


def test_segments_move_by_minus_two_to_two_and_zeros_follow() -> None:
    x = torch.randn(1, 10, 6, 7)
    moved = shift(x, 2, 5)
    assert torch.equal(moved[:, 4:6], x[:, 4:6])
    assert torch.equal(moved[:, :2, :-2], x[:, :2, 2:])  # segment 0 moves up by two
    assert moved[:, :2, -2:].abs().max() == 0
    assert torch.equal(moved[:, 8:, 2:], x[:, 8:, :-2])
    assert torch.equal(shift(x, 3, 5), shift(x.mT, 2, 5).mT)


def test_a_block_of_160_channels_has_the_published_parameters() -> None:
    block = ShiftedMLP(160, 160)
    last_norm = 2 * 160  # the reference counts the block without the stage's last norm
    assert sum(p.numel() for p in block.parameters()) - last_norm == 53_440
