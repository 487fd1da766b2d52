import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score

from nas.metrics import dice_per_class, dice_per_image, iou_per_image, labels, mean_of_images


def random_maps(classes):
    generator = torch.Generator().manual_seed(classes)
    draw = [torch.randint(0, classes, (5, 9, 7), generator=generator) for _ in range(2)]
    return draw[0], draw[1]


def test_labels_of_one_class_start_above_one_half():
    logits = torch.tensor([[[[-1.0, 0.0, 0.1]]]])
    assert labels(logits).tolist() == [[[0, 0, 1]]]


def test_labels_of_several_classes_are_the_largest():
    logits = torch.tensor([[[[1.0]], [[3.0]], [[2.0]]]])
    assert labels(logits).tolist() == [[[1]]]


def test_binary_scores_agree_with_scikit_learn():
    guess, truth = random_maps(2)
    dice, iou = dice_per_image(guess, truth, 1), iou_per_image(guess, truth, 1)
    for k in range(len(truth)):
        g, t = guess[k].flatten().numpy(), truth[k].flatten().numpy()
        assert dice[k].item() == pytest.approx(f1_score(t, g))
        assert iou[k].item() == pytest.approx(jaccard_score(t, g))


def test_multiclass_scores_are_means_over_the_foreground_classes():
    guess, truth = random_maps(4)
    dice, iou = dice_per_image(guess, truth, 4), iou_per_image(guess, truth, 4)
    for k in range(len(truth)):
        g, t = guess[k].flatten().numpy(), truth[k].flatten().numpy()
        assert dice[k].item() == pytest.approx(f1_score(t, g, labels=[1, 2, 3], average="macro"))
        assert iou[k].item() == pytest.approx(
            jaccard_score(t, g, labels=[1, 2, 3], average="macro")
        )


def test_empty_maps_score_one_and_a_map_against_nothing_scores_zero():
    empty, full = torch.zeros(1, 4, 4).long(), torch.ones(1, 4, 4).long()
    for score in (dice_per_image, iou_per_image):
        assert score(empty, empty, 1).item() == 1
        assert score(full, empty, 1).item() == 0
        assert score(empty, full, 1).item() == 0


def test_a_class_absent_from_both_maps_is_left_out_of_the_mean():
    truth = torch.tensor([[[0, 1, 1, 1]]])
    guess = torch.tensor([[[0, 1, 1, 0]]])  # classes 2 and 3 occur nowhere
    assert dice_per_image(guess, truth, 4).item() == pytest.approx(2 * 2 / 5)
    guess = torch.tensor([[[2, 1, 1, 0]]])  # class 2 only in the prediction: 0
    assert dice_per_image(guess, truth, 4).item() == pytest.approx((0.8 + 0) / 2)


def test_dice_per_class_of_volumes_by_hand():
    truth = torch.zeros(2, 2, 2, 2, dtype=torch.long)
    truth[0, 0], truth[0, 1] = 1, 2
    guess = truth.clone()
    guess[0, 1] = 1  # class 1: 4 of 4 found, 4 too many; class 2: nothing
    guess[1, 0, 0, 0] = 2  # the second volume has no foreground
    found = dice_per_class(guess, truth, 3)
    assert found[0].tolist() == pytest.approx([2 * 4 / (8 + 4), 0])
    assert found[1].isnan().tolist() == [True, False]
    assert mean_of_images(found).tolist() == pytest.approx([2 / 3, 0])
    assert dice_per_image(guess, truth, 3).tolist() == pytest.approx([1 / 3, 0])


def test_scores_of_volumes_agree_with_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    guess, truth = (torch.randint(0, 3, (2, 5, 6, 7), generator=generator) for _ in range(2))
    found = dice_per_class(guess, truth, 3)
    for k in range(2):
        g, t = guess[k].flatten().numpy(), truth[k].flatten().numpy()
        expected = f1_score(t, g, labels=[1, 2], average=None)
        assert found[k].tolist() == pytest.approx(expected.tolist())
