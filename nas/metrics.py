"""Scores of label maps, per image; the numbers come from torchmetrics."""

from torch import Tensor, where
from torchmetrics.functional.segmentation import dice_score


def labels(logits: Tensor) -> Tensor:
    """Return the predicted label of each pixel.

    Shape: (N, 1, H, W) -> (N, H, W), 1 where the probability exceeds 0.5; (N, K, H, W) -> (N, H, W)
    """
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def dice_per_image(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return the Dice of each image: the mean over the foreground classes.

    A class absent from both maps is left out of an image's mean; an image whose maps are both empty
    scores 1; a class present in only one of them scores 0.

    Args:
        prediction: integer labels.
        truth: integer labels.
        classes: channels of the network: 1 for one foreground class, else background included.

    Shape: (N, H, W), (N, H, W) -> (N,)
    """
    return _mean_of_present(_dice(prediction, truth, classes))


def iou_per_image(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return the intersection over union of each image by the same rules.

    Shape: (N, H, W), (N, H, W) -> (N,)
    """
    dice = _dice(prediction, truth, classes)
    return _mean_of_present(dice / (2 - dice))


def _dice(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return Dice per image and foreground class, nan where a class is absent from both maps."""
    return dice_score(
        prediction.long(),
        truth.long(),
        num_classes=max(2, classes),
        include_background=False,
        average="none",
        input_format="index",
    )


def _mean_of_present(per_class: Tensor) -> Tensor:
    mean = per_class.nanmean(1)
    return where(mean.isnan(), 1.0, mean)
