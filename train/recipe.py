"""Defines the recipe of a training run: its settings, three presets, and `--set NAME=VALUE`.

`digit-edge train` selects a preset and changes its settings; `train.fitting.fit` and `train.run`
use the resulting recipe.
"""

import dataclasses
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

from runtime.errors import EdgeError
from train.augmentation.augment import Augmentation
from train.augmentation.corrupt import Corruption, Lighting

_Group = TypeVar("_Group", "Recipe", Augmentation, Corruption, Lighting)
# Settings that must be less than 1; `changed` raises EdgeError for 1 and more.
_BELOW_ONE = (
    "warmup",
    "beta2",
    "dropout",
    "label_smoothing",
    "ema_decay",
    "contrast",
    "cooldown",
    "drawn_share",
    "tint",
)
# Settings that must be at least 1; all other settings may be 0. Below, `changed` raises EdgeError.
_AT_LEAST_ONE = ("epochs", "batch_size", "elastic_points")
# Largest value of each setting, in the setting's unit; beyond it, `changed` raises EdgeError.
_MAX = {
    **dict.fromkeys(
        (*_BELOW_ONE, "share", "corrupted_fraction", "cooldown_strength", "teacher_share"), 1
    ),
    **dict.fromkeys(("noise", "brightness"), 1),  # shares of full scale
    **dict.fromkeys(("shift_px", "blur_px", "occlusion_px", "elastic_px", "elastic_points"), 28),
    "stroke_px": 2,
    "rotation_degrees": 180,
    "batch_size": 65_536,
}
# Largest value of a setting that `_MAX` does not contain; beyond it, `changed` raises EdgeError.
_MAX_OTHERWISE = 1e6
# The characters of a number. Python's `float` would also accept underscores, spaces, and the digits
# of other scripts; `changed` raises EdgeError for these.
_NUMBER = re.compile(r"[0-9.eE+-]+")
# Former name of a setting → current name. `--set` and stored recipes may use either name.
_FORMER_NAMES = {
    "second_moment": "beta2",
    "averaging": "ema_decay",
    "spoilt": "corrupted_fraction",
    "corruption_before": "early_corruption",
    "calm": "cooldown",
    "calm_strength": "cooldown_strength",
}
_RECIPE_SIDE_PX = 28  # shorter side of the images that amounts in pixels are stated for
# Settings that are groups of settings.
_GROUPS = ("distortion", "corruption", "early_corruption", "lighting")


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run; RECIPE.md explains the choice of their values.

    Attributes:
        name: the recipe's name in the saved model.
        epochs: number of epochs. An epoch is one pass over the training images, but at least 100
            steps: several passes over a small data set.
        batch_size: images per step.
        learning_rate: peak learning rate.
        warmup: share of the steps in which the learning rate rises from 0 to the peak.
        beta2: decay per step of AdamW's mean of squared gradients, β₂.
        weight_decay: AdamW's weight decay of the kernels, relative to the learning rate.
        dropout: share of the hidden layer's values dropped in training.
        label_smoothing: share of each target that is spread evenly over the classes.
        ema_decay: decay per step of the exponential moving average (EMA) of the weights. The
            average is saved, not the weights themselves.
        distortion: the geometric augmentation of the images.
        corruption: the corruption of some images (noise, blur, …) in the last epochs.
        corrupted_fraction: length of these last epochs as a share of all epochs, from 0 to 1.
        early_corruption: the corruption of some images in all earlier epochs.
        cooldown: share of the epochs, counted from the end, that use a weaker `distortion`.
        cooldown_strength: factor of `distortion` in the epochs of `cooldown`, from 0 to 1.

        drawn_share: share of each batch that is drawn: digits in forms of other countries, and
            negatives. It applies to models of the ten digits; of photographs, it is the share of
            negatives made from the training images. It does not apply to other ink.
        teacher_share: weight of the teachers' scores in each target, from 0 to 1. It applies if
            there are teachers (`--teacher`).
        lighting: the variation of the light of photographs. It does not apply to ink.

    Amounts in pixels are for images whose shorter side is 28 pixels, and grow with that side.

    A share of the epochs is rounded to whole epochs.
    """

    name: str = "default"
    epochs: int = 50
    batch_size: int = 256
    learning_rate: float = 4e-3
    warmup: float = 0.07
    beta2: float = 0.999
    weight_decay: float = 5e-2
    dropout: float = 0.3
    label_smoothing: float = 0.02
    ema_decay: float = 0.996
    distortion: Augmentation = field(default_factory=Augmentation)
    corruption: Corruption = field(default_factory=Corruption)
    corrupted_fraction: float = 1.0
    early_corruption: Corruption = field(default_factory=Corruption)
    cooldown: float = 0.0
    cooldown_strength: float = 0.5
    drawn_share: float = 0.0
    teacher_share: float = 0.7
    lighting: Lighting = field(default_factory=Lighting)

    def to_json(self) -> str:
        """Return the settings as one line of JSON with sorted keys; without unused lighting."""
        record = dataclasses.asdict(self)
        if self.lighting == Lighting():
            del record["lighting"]
        return json.dumps(record, sort_keys=True)

    def for_side(self, side_px: int) -> "Recipe":
        """Return the recipe with its amounts in pixels scaled to an image's shorter side."""
        factor = side_px / _RECIPE_SIDE_PX
        scaled = {
            group: dataclasses.replace(
                value,
                **{
                    name: factor * amount
                    for name, amount in dataclasses.asdict(value).items()
                    if name.endswith("_px")
                },
            )
            for group in ("distortion", "corruption", "early_corruption")
            for value in (getattr(self, group),)
        }
        return dataclasses.replace(self, **scaled)

    def rate(self, progress: float) -> float:
        """Return the learning rate: a linear warm-up, then a cosine decay to 0.

        Args:
            progress: completed share of the steps, from 0 to 1.
        """
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        decayed = (progress - self.warmup) / (1 - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(decayed, 1.0)))

    def corruption_in(self, epoch: int) -> Corruption:
        """Return the corruption of an epoch.

        Args:
            epoch: number of the epoch, from 0.
        """
        late = self._in_last(self.corrupted_fraction, epoch)
        return self.corruption if late else self.early_corruption

    def strength(self, epoch: int) -> float:
        """Return the factor of `distortion` in an epoch, from 0 to 1.

        Args:
            epoch: number of the epoch, from 0.
        """
        return self.cooldown_strength if self._in_last(self.cooldown, epoch) else 1.0

    def _in_last(self, share: float, epoch: int) -> bool:
        return epoch >= self.epochs - round(share * self.epochs)


DEFAULT = Recipe()  # without an option
PUBLISHED = Recipe(  # `digit-edge train --published`: the models in the package
    name="published",
    epochs=45,
    weight_decay=0.1,
    early_corruption=Corruption(share=0.15, stroke_px=1.4),
    corrupted_fraction=0.4,
    corruption=Corruption(
        share=0.33,
        contrast=0.8,
        brightness=0.4,
        noise=0.3,
        blur_px=1.6,
        stroke_px=1.4,
        occlusion_px=9.0,
    ),
    cooldown=0.1,
    drawn_share=0.34,
)
FAST = Recipe(  # `digit-edge train --fast`: 2 epochs instead of 50
    name="fast",
    epochs=2,
    batch_size=256,
    learning_rate=1.2e-2,
    warmup=0.3,
    beta2=0.98,
    dropout=0.0,
    label_smoothing=0.05,
    weight_decay=1e-2,
    ema_decay=0.98,
    distortion=Augmentation(rotation_degrees=6.0, scale=0.06, shear=0.1, shift_px=1.0),
)


PHOTO = Recipe(  # of all other forms than 28x28 ink, if none of the above is selected
    name="photo",
    epochs=30,
    batch_size=128,
    learning_rate=3e-3,
    dropout=0.2,
    ema_decay=0.99,
    distortion=Augmentation(rotation_degrees=5.0, scale=0.08, shear=0.05, shift_px=2.0),
    corruption=Corruption(share=0.3, noise=0.06, blur_px=1.2),
    early_corruption=Corruption(share=0.3, noise=0.06, blur_px=1.2),
    lighting=Lighting(brightness=0.2, contrast=0.4, tint=0.1),
    drawn_share=0.2,
)


def changed(recipe: Recipe, settings: list[str]) -> Recipe:
    """Return a recipe with changed settings.

    Args:
        recipe: the recipe to start from; it is not modified.
        settings: a list of `name=value` and `group.name=value`. The groups are `distortion`,
            `corruption`, `early_corruption` and `lighting`.

    Raises:
        EdgeError: a setting does not exist, or its value is not a number in the setting's range.
    """
    for setting in settings:
        name, _, text = setting.partition("=")
        try:
            group, dot, rest = name.partition(".")
            group = _FORMER_NAMES.get(group, group)
            if group in _GROUPS:
                changed_group = _replaced(getattr(recipe, group), rest, text)
                recipe = dataclasses.replace(recipe, **{group: changed_group})
            else:
                recipe = _replaced(recipe, group + dot + rest, text)
        except ValueError as error:
            raise EdgeError(f"--set {setting}: {error}") from None
        except KeyError:
            names = [
                *_numbers(recipe),
                *(f"{group}.{n}" for group in _GROUPS for n in _numbers(getattr(recipe, group))),
            ]
            raise EdgeError(
                f"--set {setting}: there is no setting {name!r}: pass NAME=NUMBER, with one of the "
                f"names {', '.join(names)}"
            ) from None
    return recipe


def with_current_names(stored: dict[str, object]) -> dict[str, object]:
    """Replace the former names of settings in a stored recipe by the current names.

    Args:
        stored: the JSON object of a recipe, see `Recipe.to_json`; it is not modified.

    Returns:
        A new JSON object; names that have never changed stay as they are.
    """
    return {_FORMER_NAMES.get(name, name): value for name, value in stored.items()}


def _numbers(group: Recipe | Augmentation | Corruption | Lighting) -> dict[str, int | float]:
    """Return name → value of the settings that are numbers."""
    values = {field.name: getattr(group, field.name) for field in dataclasses.fields(group)}
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}


def _replaced(group: _Group, name: str, text: str) -> _Group:
    """Return `group` with one changed setting.

    Raises:
        KeyError: the group has no setting `name`.
        ValueError: `text` is not a number in the setting's range; the message states the range.
    """
    number_type = type(_numbers(group)[name])
    minimum, maximum = 1 if name in _AT_LEAST_ONE else 0, _MAX.get(name, _MAX_OTHERWISE)
    try:
        value = number_type(text) if _NUMBER.fullmatch(text) else math.nan
    except ValueError:
        value = math.nan
    if not minimum <= value <= maximum or (name in _BELOW_ONE and value == 1):
        number = "whole number" if number_type is int else "number"
        limit = "to below" if name in _BELOW_ONE else "to"
        raise ValueError(f"pass NAME=NUMBER with a {number} from {minimum} {limit} {maximum:g}")
    replacement: dict[str, Any] = {name: value}
    return dataclasses.replace(group, **replacement)
