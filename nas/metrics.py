"""Scores of label maps, per image; the numbers come from torchmetrics."""

from torch import Tensor, where
from torchmetrics.functional.segmentation import dice_score


def labels(logits: Tensor) -> Tensor:
    """Return the predicted label of each pixel.

    Shape: (N, 1, H, W) -> (N, H, W), 1 where the probability exceeds 0.5; (N, K, H, W) -> (N, H, W)

    Likewise of volumes, (N, K, D, H, W) -> (N, D, H, W), here and below.
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
    return mean_of_classes(dice_per_class(prediction, truth, classes))


def iou_per_image(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return the intersection over union of each image by the same rules.

    Shape: (N, H, W), (N, H, W) -> (N,)
    """
    return mean_of_classes(iou_of(dice_per_class(prediction, truth, classes)))


def dice_per_class(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return the Dice of each foreground class in each image, nan where both maps lack the class.

    Shape: (N, H, W), (N, H, W) -> (N, foreground classes)
    """
    return dice_score(
        prediction.long(),
        truth.long(),
        num_classes=max(2, classes),
        include_background=False,
        average="none",
        input_format="index",
    )


def iou_of(dice: Tensor) -> Tensor:
    """Return the intersection over union that belongs to each Dice.

    Shape: any -> the same
    """
    return dice / (2 - dice)


def mean_of_classes(per_class: Tensor) -> Tensor:
    """Return the mean of each image over the classes that it has in either map; 1 if it has none.

    Shape: (N, foreground classes) -> (N,)
    """
    mean = per_class.nanmean(1)
    return where(mean.isnan(), 1.0, mean)


def mean_of_images(per_class: Tensor) -> Tensor:
    """Return the mean of each class over the images that have it in either map; 1 if none has.

    Shape: (N, foreground classes) -> (foreground classes,)
    """
    return mean_of_classes(per_class.T)
