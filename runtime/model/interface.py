"""`Interface`: the input and the output of a model that other tools made.

A model of this project takes its pixels divided by 255, of digits (N, 28, 28, 1) from 0 (paper) to
1 (ink), and returns a softmax. Any other model has an `Interface` in its spec. `digit-edge
export-spec` finds it, and `runtime.backends.codec` converts pixels and outputs by it.
"""

import math
from dataclasses import dataclass
from typing import Any

from runtime.errors import ArtifactError, plural

LAYOUTS = ("nhwc", "nchw")  # channels last, as in TensorFlow; channels first, as in PyTorch
POLARITIES = ("light", "dark")  # ink is lighter than paper, as in MNIST; ink is darker
# How 28×28 pixels become another size: interpolated, or unchanged in the center of the input.
FITS = ("resize", "pad")
ACTIVATIONS = ("softmax", "log-softmax", "logits", "sigmoid")  # what the model's output is
# What the runtime does with an output to get probabilities, for messages.
_CONVERSIONS = {"logits": " (softmax is applied)", "log-softmax": " (exp is applied)"}
RAW = "raw"  # the output as it is, to find out the activation; never in a file
# Types of an input's values.
DTYPES = ("float32", "float16", "float64", "uint8", "int8", "int32", "int64")

SCALE, MEAN, STD = 1.0, (0.0,), (1.0,)  # values from 0 to 1


@dataclass(frozen=True)
class Interface:
    """The input and the output of a model that other tools made.

    An input value is (pixel / 255 × scale − mean) / std. The pixel is 0 for paper and 255 for ink
    if the polarity is "light".

    Attributes:
        input_shape: shape of the model's input. Only the first axis, the batch, may be None (any
            size); an input without a batch axis holds one image.
        size: height, width and channels of the image in the input.
        dtype: type of the input's values, one of `DTYPES`.
        layout: order of the axes, one of `LAYOUTS`.
        fit: how pixels of another size become `size`, one of `FITS`.
        polarity: one of `POLARITIES`.
        scale: largest input value before `mean` and `std`: 1 or 255.
        mean: subtracted from the scaled value; one number, or one for each channel.
        std: divides the difference; one number, or one for each channel.
        activation: what the model's output is, one of `ACTIVATIONS`.
    """

    input_shape: tuple[int | None, ...]
    size: tuple[int, int, int]
    dtype: str = "float32"
    layout: str = "nhwc"
    fit: str = "resize"
    polarity: str = "light"
    scale: float = SCALE
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    activation: str = "softmax"

    @property
    def batch(self) -> int | None:
        """The number of images in each call; None for any number."""
        if self.input_shape[0] is None:
            return None
        return math.prod(size or 0 for size in self.input_shape) // math.prod(self.size)

    def options(self) -> str:
        """Return the options of `digit-edge export-spec` that select this interface."""
        chosen = []
        if self.scale != SCALE:
            chosen.append(f"--scale {self.scale:g}")
        if self.mean != MEAN:
            chosen.append(f"--mean {_numbers(self.mean)}")
        if self.std != STD:
            chosen.append(f"--std {_numbers(self.std)}")
        if self.layout != LAYOUTS[0]:
            chosen.append(f"--layout {self.layout}")
        if self.polarity != POLARITIES[0]:
            chosen.append(f"--polarity {self.polarity}")
        return " ".join(chosen) or f"--scale {SCALE:g}"

    def __str__(self) -> str:
        """Describe the interface for people."""
        low, high = self.range()
        shape = ", ".join("N" if size is None else str(size) for size in self.input_shape)
        return (
            f"input ({shape}), {self.dtype}, values from {low:.4g} to {high:.4g}, "
            f"{self.polarity} ink; output {self.activation}{_CONVERSIONS.get(self.activation, '')}"
        )

    def range(self) -> tuple[float, float]:
        """Return the smallest and the largest input value, of all channels."""
        values = [
            (end - mean) / std
            for end in (0.0, self.scale)
            for mean, std in zip(*self.per_channel(), strict=True)
        ]
        return min(values), max(values)

    def per_channel(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return `mean` and `std`, both of the same length."""
        count = max(len(self.mean), len(self.std))
        return self.mean * (count // len(self.mean)), self.std * (count // len(self.std))

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Interface":
        """Return the interface of a JSON object.

        Raises:
            KeyError, TypeError, ValueError: the object is not an interface.
        """
        fields = dict(record)
        fields["input_shape"] = tuple(None if n is None else int(n) for n in record["input_shape"])
        height, width, channels = map(int, record["size"])
        fields["size"] = height, width, channels
        for key in ("mean", "std"):
            fields[key] = tuple(map(float, record[key]))
        fields["scale"] = float(record["scale"])
        return cls(**fields)

    def check(self) -> None:
        """Check the values.

        Raises:
            ArtifactError: a value is not allowed, or two values contradict each other.
        """
        for key, allowed in (
            ("dtype", DTYPES),
            ("layout", LAYOUTS),
            ("fit", FITS),
            ("polarity", POLARITIES),
            ("activation", ACTIVATIONS),
        ):
            if getattr(self, key) not in allowed:
                raise ArtifactError(
                    f"the model's {key} {getattr(self, key)!r} is none of {', '.join(allowed)}: "
                    "run digit-edge export-spec again"
                )
        channels, sizes = self.size[2], self.input_shape[1:]
        for key, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, channels) or not all(map(math.isfinite, numbers)):
                raise ArtifactError(
                    f"{plural(len(numbers), 'number')} in {key} for {plural(channels, 'channel')}: "
                    "pass one number, or one for each channel"
                )
        if not math.isfinite(self.scale) or self.scale <= 0 or not all(s > 0 for s in self.std):
            raise ArtifactError(
                "the scale and the std must be above 0: run digit-edge export-spec again"
            )
        if min(self.size) < 1 or not self.input_shape or not all(n and n > 0 for n in sizes):
            raise ArtifactError(
                f"the input shape {self.input_shape} is unsuitable for images of {self.size}: "
                "run digit-edge export-spec again"
            )
        values, pixels = math.prod(n or 1 for n in self.input_shape), math.prod(self.size)
        if values % pixels or (self.input_shape[0] is None and values != pixels) or values <= 0:
            raise ArtifactError(
                f"an input of shape {self.input_shape} does not hold images of {self.size}: run "
                "digit-edge export-spec again"
            )


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)
