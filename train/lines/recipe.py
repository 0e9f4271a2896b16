"""Every setting that decides the outcome of a training run of the line reader."""

import dataclasses
import json
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LineRecipe:
    """Every setting that decides the outcome of a training run of the line reader.

    Attributes:
        lines: number of training lines, counting repetitions.
        pool: number of different lines, see `train.lines.batches.BatchSource`.
        batch_size: lines a step.
        learning_rate: its peak.
        warmup: share of the training in which the rate climbs from 0 to its peak.
        weight_decay: of AdamW, on kernels alone, relative to the learning rate.
        ema_decay: decay per step of the moving average of the weights, which is saved.
        validation_lines: composed of the writers that are held back.
    """

    lines: int = 900_000
    pool: int = 200_000
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup: float = 0.05
    weight_decay: float = 2e-2
    ema_decay: float = 0.997
    validation_lines: int = 2_000

    @property
    def steps(self) -> int:
        """Steps of the training."""
        return max(self.lines // self.batch_size, 1)

    def rate(self, progress: float) -> float:
        """Learning rate at `progress` (0 to 1): linear warm-up, then half a cosine down to 0."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        rest = (progress - self.warmup) / (1 - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(rest, 1.0)))

    def to_json(self) -> str:
        """One line, keys in order."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)
