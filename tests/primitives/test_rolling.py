import pytest
import torch

from primitives.rolling import roll_each


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_channel_i_is_rolled_by_i_pixels(axis: int, sign: int) -> None:
    x = torch.randn(2, 9, 4, 6)  # more channels than pixels: they wrap around
    expected = torch.stack([torch.roll(x[:, i], sign * i, axis - 1) for i in range(9)], 1)
    assert torch.equal(roll_each(x, axis, sign), expected)
