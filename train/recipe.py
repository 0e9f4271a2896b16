"""Recipe: every setting that decides what a training run ends in."""

import dataclasses
import json
import math
from dataclasses import dataclass, field

from runtime.errors import EdgeError
from train.augment import Distortion


@dataclass(frozen=True)
class Recipe:
    """Every setting that decides what a training run ends in; RECIPE.md says why these.

    Attributes:
        name: how the saved model names it.
        epochs: passes over the training images (of a small set an epoch makes several passes).
        batch_size: images a step.
        learning_rate: its peak.
        warmup: share of the training in which the rate climbs from 0 to its peak.
        weight_decay: of AdamW, on kernels alone, relative to the learning rate.
        dropout: share of the hidden layer's values dropped.
        label_smoothing: share of the target spread evenly over the classes.
        averaging: decay of the weights' moving average a step; the average is what is saved.
        distortion: how images are distorted.
        calm_epochs: in the last so many epochs the distortion is `calm_strength` of it.
        calm_strength: from 0 to 1.
    """

    name: str = "default"
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 3e-3
    warmup: float = 0.07
    weight_decay: float = 1e-2
    dropout: float = 0.2
    label_smoothing: float = 0.02
    averaging: float = 0.998
    distortion: Distortion = field(default_factory=Distortion)
    calm_epochs: int = 4
    calm_strength: float = 0.5

    def to_json(self) -> str:
        """One line, keys in order."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    def rate(self, progress: float) -> float:
        """Learning rate at `progress` (0 to 1): linear warm-up, then half a cosine down to 0."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        rest = (progress - self.warmup) / (1 - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))

    def strength(self, epoch: int) -> float:
        """Share of the distortion in `epoch` (from 0)."""
        return self.calm_strength if epoch >= self.epochs - self.calm_epochs else 1.0


DEFAULT = Recipe()
FAST = Recipe(
    name="fast",
    epochs=2,
    batch_size=256,
    learning_rate=6e-3,
    warmup=0.3,
    dropout=0.0,
    label_smoothing=0.0,
    averaging=0.98,
    distortion=Distortion.none(),
    calm_epochs=0,
)


def changed(recipe: Recipe, settings: list[str]) -> Recipe:
    """A recipe with settings changed, each given as `name=value` or `distortion.name=value`.

    Raises:
        EdgeError: no such setting, or not a number.
    """
    for setting in settings:
        name, _, text = setting.partition("=")
        group, dot, key = name.rpartition(".")
        part = recipe if not dot else getattr(recipe, group, None)
        known = (
            {f.name: f.type for f in dataclasses.fields(part)}
            if part in (recipe, recipe.distortion)
            else {}
        )  # noqa: E501
        try:
            value = int(text) if isinstance(getattr(part, key), int) else float(text)
        except (AttributeError, ValueError):
            names = ", ".join(n for n in known if n not in ("name", "distortion"))
            raise EdgeError(f"--set {setting}: give name=number, the name one of {names}") from None
        part = dataclasses.replace(part, **{key: value})
        recipe = part if not dot else dataclasses.replace(recipe, **{group: part})
    return recipe
