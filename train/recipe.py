"""Recipe: every setting that decides what a training run ends in."""

import dataclasses
import json
import math
import re
from dataclasses import dataclass, field
from typing import TypeVar

from runtime.errors import EdgeError
from train.augment import Augmentation
from train.corrupt import Corruption

_Part = TypeVar("_Part", "Recipe", Augmentation, Corruption)
# Settings that stay below 1.
_SHARES = ("warmup", "beta2", "dropout", "label_smoothing", "ema_decay")
_SHARES += ("contrast", "cooldown")
_AT_LEAST_ONE = ("epochs", "batch_size", "elastic_points")
_MAX = {
    **dict.fromkeys((*_SHARES, "share", "corrupted_fraction", "cooldown_strength"), 1),
    **dict.fromkeys(("noise", "brightness"), 1),  # shares of full scale
    **dict.fromkeys(("shift_px", "blur_px", "occlusion_px", "elastic_px", "elastic_points"), 28),
    "stroke_px": 2,
    "rotation_degrees": 180,
    "batch_size": 65_536,
}
_LARGEST = 1e6  # of any other setting
_NUMBER = re.compile(r"[0-9.eE+-]+")  # without Python's other digits, underscores and spaces
# Settings whose names were changed; `--set` and stored recipes may have the earlier ones.
_EARLIER_NAMES = {
    "second_moment": "beta2",
    "averaging": "ema_decay",
    "spoilt": "corrupted_fraction",
    "corruption_before": "early_corruption",
    "calm": "cooldown",
    "calm_strength": "cooldown_strength",
}
# Settings that are groups of settings.
_PARTS = ("distortion", "corruption", "early_corruption")


@dataclass(frozen=True)
class Recipe:
    """Every setting that decides the outcome of a training run; RECIPE.md gives the reasons.

    Attributes:
        name: the recipe's name in the saved model.
        epochs: passes over the training images (of a small set an epoch makes several passes).
        batch_size: images a step.
        learning_rate: its peak.
        warmup: share of the training in which the rate climbs from 0 to its peak.
        beta2: decay per step of AdamW's mean of squared gradients, β₂.
        weight_decay: of AdamW, on kernels alone, relative to the learning rate.
        dropout: share of the hidden layer's values dropped.
        label_smoothing: share of the target spread evenly over the classes.
        ema_decay: decay per step of the moving average of the weights, which is saved.
        distortion: the geometric augmentation of the images.
        corruption: the corruption of a share of the images in the last epochs.
        corrupted_fraction: share of the epochs, the last ones, that use `corruption`.
        early_corruption: the corruption in the epochs before those.
        cooldown: share of the epochs, the last ones, that use a weaker `distortion`.
        cooldown_strength: the strength of `distortion` in them, from 0 to 1.

    Shares of the epochs are rounded to whole epochs.
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

    def to_json(self) -> str:
        """One line, keys in order."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def rate(self, progress: float) -> float:
        """Learning rate at `progress` (0 to 1): linear warm-up, then half a cosine down to 0."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        rest = (progress - self.warmup) / (1 - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))

    def corruption_in(self, epoch: int) -> Corruption:
        """How images are corrupted in `epoch` (from 0)."""
        late = self._in_last(self.corrupted_fraction, epoch)
        return self.corruption if late else self.early_corruption

    def strength(self, epoch: int) -> float:
        """Strength of the augmentation in `epoch` (from 0)."""
        return self.cooldown_strength if self._in_last(self.cooldown, epoch) else 1.0

    def _in_last(self, share: float, epoch: int) -> bool:
        return epoch >= self.epochs - round(share * self.epochs)


DEFAULT = Recipe()
PUBLISHED = Recipe(
    name="published",
    epochs=60,
    weight_decay=0.1,
    early_corruption=Corruption(share=0.15, stroke_px=1.4),
    corrupted_fraction=1 / 3,
    corruption=Corruption(
        share=0.3,
        contrast=0.8,
        brightness=0.4,
        noise=0.3,
        blur_px=1.6,
        stroke_px=1.4,
        occlusion_px=9.0,
    ),
    cooldown=0.1,
)
FAST = Recipe(
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


def changed(recipe: Recipe, settings: list[str]) -> Recipe:
    """A recipe with settings changed, each `name=value`, `distortion.name=…`, `corruption.name=…`.

    Raises:
        EdgeError: no such setting, or a value that makes no sense.
    """
    for setting in settings:
        name, _, text = setting.partition("=")
        try:
            part, dot, rest = name.partition(".")
            part = _EARLIER_NAMES.get(part, part)
            if part in _PARTS:
                changed_part = _replaced(getattr(recipe, part), rest, text)
                recipe = dataclasses.replace(recipe, **{part: changed_part})
            else:
                recipe = _replaced(recipe, part + dot + rest, text)
        except (KeyError, ValueError):
            names = [
                *_numbers(recipe),
                *(f"{part}.{n}" for part in _PARTS for n in _numbers(getattr(recipe, part))),
            ]
            raise EdgeError(
                f"--set {setting}: give NAME=NUMBER, one of {', '.join(names)}"
            ) from None
    return recipe


def with_current_names(stored: dict[str, object]) -> dict[str, object]:
    """Return a stored recipe with the present names of its settings."""
    return {_EARLIER_NAMES.get(name, name): value for name, value in stored.items()}


def _numbers(part: Recipe | Augmentation | Corruption) -> dict[str, int | float]:
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}


def _replaced(part: _Part, name: str, text: str) -> _Part:
    if not _NUMBER.fullmatch(text):
        raise ValueError
    value = type(_numbers(part)[name])(text)
    least = 1 if name in _AT_LEAST_ONE else 0
    if not least <= value <= _MAX.get(name, _LARGEST) or (name in _SHARES and value == 1):
        raise ValueError
    return dataclasses.replace(part, **{name: value})
