"""Compares an artifact with its Keras model: names, shapes, values, top-1, accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from export.keras_model import INPUT_NAME, OUTPUT_NAME
from runtime.backends import Pixels, Scores
from runtime.errors import ParityError
from runtime.model.tolerance import Tolerance
from train.data.splits import Split


@dataclass(frozen=True)
class Signature:
    """What a model file calls its input and output, and their shapes; a free batch is None."""

    input_name: str
    output_name: str
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]


@dataclass(frozen=True)
class ExportCheck:
    """One line of a verification: what was compared, whether it held, and the figures."""

    name: str
    passed: bool
    detail: str

    def __str__(self) -> str:
        return f"  {'✓' if self.passed else '✗'} {self.name:<10}{self.detail}"


@dataclass(frozen=True)
class Verification:
    """All the checks of one artifact; true where every one held."""

    checks: tuple[ExportCheck, ...]

    def __bool__(self) -> bool:
        return all(check.passed for check in self.checks)

    def raise_if_failed(self, path: object) -> None:
        """Raise a ParityError that names what failed."""
        failed = "; ".join(f"{c.name}: {c.detail}" for c in self.checks if not c.passed)
        if failed:
            raise ParityError(
                f"{path} is not written, it does not answer as its Keras model: {failed}"
            )


def verify(
    signature: Signature,
    run: Callable[[Pixels], Scores],
    reference: Scores,
    split: Split,
    shape: Sequence[int],
    precision: str,
) -> Verification:
    """Compare an artifact, in the engine that will run it, with Keras's scores of the same pixels.

    Args:
        signature: what the file says of its input and output.
        run: pixels (N, 28, 28, 1) uint8 → scores (N, classes) float32.
        reference: Keras's scores of `split.pixels`.
        split: real images and their labels.
        shape: of one image, (28, 28, 1).
        precision: "float32" is judged by value, "int8" by its answers; see `Tolerance`.
    """
    classes = reference.shape[1]
    wanted = Signature(INPUT_NAME, OUTPUT_NAME, (None, *shape), (None, classes))
    checks = [
        ExportCheck(
            "names",
            (signature.input_name, signature.output_name) == (INPUT_NAME, OUTPUT_NAME),
            f"{signature.input_name} → {signature.output_name}",
        ),
        ExportCheck(
            "shapes",
            (signature.input_shape, signature.output_shape)
            == (wanted.input_shape, wanted.output_shape),
            f"{_shape(signature.input_shape)} → {_shape(signature.output_shape)}",
        ),
    ]
    scores = run(split.pixels)
    if scores.shape != reference.shape:
        checks.append(
            ExportCheck("values", False, f"{scores.shape} scores, Keras {reference.shape}")
        )
        return Verification(tuple(checks))
    for name, values in (("", scores), ("Keras: ", reference)):
        bad = int(np.sum(~np.isfinite(values)))
        if bad:
            detail = f"{name}{bad} of the {values.shape} scores are NaN or Inf"
            checks.append(ExportCheck("values", False, detail))
            return Verification(tuple(checks))
    tolerance, count = Tolerance(), len(split)
    difference = float(np.abs(scores - reference).max())
    answers, expected = scores.argmax(axis=1), reference.argmax(axis=1)
    flipped = int(np.sum(answers != expected))
    right, keras_right = (int(np.sum(a == split.labels)) for a in (answers, expected))
    # The device runs one image at a time and also batches: both must give the same answers.
    single = np.concatenate([run(split.pixels[at : at + 1]) for at in range(min(16, count))])
    spread = float(np.abs(single - scores[: len(single)]).max())
    by_value = precision != "int8"
    checks += [
        ExportCheck(
            "values",
            tolerance.allows_difference(precision, difference),
            f"largest difference {difference:.2g}"
            + (f" (at most {tolerance.max_difference:g})" if by_value else ""),
        ),
        ExportCheck(
            "top-1",
            tolerance.allows_flips(precision, flipped, count),
            f"{1 - flipped / count:.2%} of {count:,} answers the same ({flipped} flipped)",
        ),
        ExportCheck(
            "accuracy",
            tolerance.allows_lost(precision, keras_right - right, count),
            f"{right / count:.2%}, Keras {keras_right / count:.2%}",
        ),
        ExportCheck(
            "batches",
            tolerance.allows_batch_difference(precision, spread),
            f"one by one or together: difference {spread:.2g}",
        ),
    ]
    return Verification(tuple(checks))


def _shape(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("batch" if size is None else str(size) for size in shape) + ")"
