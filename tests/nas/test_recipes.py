import pytest

from nas.losses import LOSSES
from nas.recipes import RECIPES, find_recipe
from primitives.core.errors import InvalidInput


@pytest.mark.parametrize(
    ("images", "steps"),
    [(453, 29), (320, 20), (321, 21), (21, 20), (1, 20)],  # batch 16, never fewer than 20 steps
)
def test_an_epoch_is_one_pass_but_at_least_twenty_steps(images, steps):
    assert RECIPES["fast"].steps_per_epoch(images) == steps


def test_the_paper_recipe_holds_the_published_settings():
    recipe = find_recipe("ultralight")  # section 4.1 and appendix A.3
    assert (recipe.lr, recipe.batch, recipe.clip, recipe.loss) == (1e-4, 16, 0.5, "ce+iou")
    assert recipe.scales == (0.75, 1.0, 1.25)
    assert not (recipe.augment.flips)
    assert not (recipe.augment.rotation)
    assert not (recipe.augment.noise)


def test_every_recipe_names_a_loss_that_exists():
    assert all(recipe.loss in LOSSES for recipe in RECIPES.values())


def test_an_unknown_recipe_is_refused_with_the_nearest_name():
    with pytest.raises(InvalidInput, match="did you mean 'ultralight'"):
        find_recipe("ultralite")
