"""How a candidate is trained; recipes are chosen by name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

from nas.augment import Augment
from primitives.core.errors import InvalidInput, nearest

_MIN_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Training settings.

    Attributes:
        source: where they come from.
        version: raised whenever results change, so that older evaluations are not reused.
        loss: a key of `nas.losses.LOSSES`.
        lr: peak learning rate of AdamW.
        weight_decay: on weights; biases and norms are not decayed.
        warmup: share of the steps in which the rate rises linearly.
        cosine: whether the rate then falls to 1 % along a cosine, or stays.
        batch: images per step.
        clip: largest gradient norm; None: any.
        ema: largest share of itself that the average of the weights keeps in a step; the average is
            what is scored and kept. None: the weights of the last step are.
        scales: factors of the input size, one drawn per step; sides are rounded to legal multiples.
        augment: ranges of the augmentation.
    """

    source: str
    version: int = 1
    loss: str
    lr: float
    weight_decay: float
    warmup: float
    cosine: bool
    batch: int
    clip: float | None
    ema: float | None = None
    scales: tuple[float, ...] = (1.0,)
    augment: Augment

    def steps_per_epoch(self, images: int) -> int:
        """Return the steps of one epoch: one pass over the images, but never fewer than 20 steps.

        Small sets would otherwise be trained for too few steps; their images are then drawn several
        times.
        """
        return max(_MIN_STEPS, ceil(images / self.batch))


_FAST = Recipe(
    source="ours: short plans on small sets",
    version=3,
    loss="balanced-ce+dice",
    lr=5e-3,
    weight_decay=1e-2,
    warmup=0.1,
    cosine=True,
    batch=16,
    clip=1.0,
    # Few steps: strong changes, above all those that blur texture, cost more than they give.
    augment=Augment(
        rotation=0.0,
        scale=0.1,
        shift=0.0,
        brightness=0.1,
        contrast=0.1,
        gamma=0.1,
        noise=0.01,
    ),
)

RECIPES: Mapping[str, Recipe] = {
    "fast": _FAST,
    "fast-ema": replace(_FAST, source="ours: fast, with averaged weights", version=2, ema=0.99),
    "brief": replace(_FAST, source="ours: tables of many trainings", batch=8),
    # Of the changes in geometry volumes have flips alone.
    "fast3d": replace(
        _FAST,
        source="ours: short plans on small sets of volumes",
        version=2,
        batch=4,
        augment=replace(_FAST.augment, quarter_turns=False, scale=0.0),
    ),
    "ultralight": Recipe(
        source="UltraLightUNet, section 4.1 and appendix A.3; one scale per step instead of three "
        "steps per batch, AdamW's default weight decay where the paper gives none",
        loss="ce+iou",
        lr=1e-4,
        weight_decay=1e-2,
        warmup=0.0,
        cosine=False,
        batch=16,
        clip=0.5,
        scales=(0.75, 1.0, 1.25),
        augment=Augment.none(),
    ),
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        InvalidInput: there is none.
    """
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise InvalidInput(f"recipe must be one of {known}, got {name!r}{nearest(name, RECIPES)}")
    return RECIPES[name]
