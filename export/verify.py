"""Verifies an exported artifact: compares its names, shapes, scores and predictions with Keras.

`export.pipeline` calls `verify`, and writes an artifact only if all checks pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from export.keras_model import INPUT_NAME, OUTPUT_NAME
from runtime.backends import Pixels, Scores
from runtime.errors import ParityError
from runtime.model.tolerance import Tolerance
from train.data.splits import Split

# Number of test images that are also run one by one. Their scores are compared with the scores of
# the same images in a batch.
SINGLE_IMAGES = 16


Shape = tuple[int | None, ...]  # None is an axis of any size


@dataclass(frozen=True)
class Signature:
    """Names and shapes of a model's input and output.

    Attributes:
        input_name: name of the input, "pixels" in an artifact of this project.
        output_name: name of the output, "scores" in an artifact of this project.
        input_shape: shape of the input; None stands for an axis of any size.
        output_shape: shape of the output; None stands for an axis of any size.
    """

    input_name: str
    output_name: str
    input_shape: Shape
    output_shape: Shape


@dataclass(frozen=True)
class ExportCheck:
    """The result of one check, printed as a line.

    Attributes:
        name: name of the check, such as "top-1" (the predicted classes).
        passed: whether the artifact matches the Keras model.
        detail: the compared values as text.
    """

    name: str
    passed: bool
    detail: str

    def __str__(self) -> str:
        return f"  {'✓' if self.passed else '✗'} {self.name:<10}{self.detail}"


@dataclass(frozen=True)
class Verification:
    """All checks of one artifact; its truth value is True if all checks passed.

    Attributes:
        checks: the results, in the order of the checks.
    """

    checks: tuple[ExportCheck, ...]

    def __bool__(self) -> bool:
        return all(check.passed for check in self.checks)

    def raise_if_failed(self, path: object) -> None:
        """Raise ParityError with the failed checks, if there are any.

        Args:
            path: the artifact's file, for the message.

        Raises:
            ParityError: a check failed.
        """
        failed = "; ".join(f"{c.name}: {c.detail}" for c in self.checks if not c.passed)
        if failed:
            raise ParityError(
                f"{path} is not written, as it does not match its Keras model: {failed}"
            )


def verify(
    signature: Signature,
    run: Callable[[Pixels], Scores],
    reference: Scores,
    split: Split,
    shapes: tuple[Shape, Shape],
    precision: str,
) -> Verification:
    """Compare the scores of an artifact, in the device's engine, with Keras's scores.

    The limits are those of `runtime.model.tolerance.Tolerance`. The scores of a float32 artifact
    must be almost equal to Keras's. A float16 or int8 artifact must have almost the same
    predictions and accuracy.

    Args:
        signature: names and shapes of the artifact's input and output.
        run: runs the artifact: pixels uint8 (N, 28, 28, 1) → scores float32 (N, classes).
        reference: Keras's scores of `split.pixels`, float32 (N, classes).
        split: test images and their labels; at least one image.
        shapes: the shapes of the Keras model's input and output.
        precision: "float32", "float16" or "int8".

    Returns:
        The checks "names", "shapes", "values", "top-1", "accuracy" and "batches". "values" is the
        last check if the scores have another shape than Keras's, or contain NaN or infinity.
    """
    checks = [
        ExportCheck(
            "names",
            (signature.input_name, signature.output_name) == (INPUT_NAME, OUTPUT_NAME),
            f"{signature.input_name} → {signature.output_name}",
        ),
        ExportCheck(
            "shapes",
            (signature.input_shape, signature.output_shape) == shapes,
            f"{_shape(signature.input_shape)} → {_shape(signature.output_shape)}",
        ),
    ]
    scores = run(split.pixels)
    if scores.shape != reference.shape:
        checks.append(
            ExportCheck("values", False, f"shape {scores.shape}, Keras {reference.shape}")
        )
        return Verification(tuple(checks))
    for name, values in (("", scores), ("Keras: ", reference)):
        non_finite = int(np.sum(~np.isfinite(values)))
        if non_finite:
            detail = f"{name}{non_finite} of {values.size:,} scores are NaN or infinite"
            checks.append(ExportCheck("values", False, detail))
            return Verification(tuple(checks))
    tolerance, count = Tolerance(), len(split)
    difference = float(np.abs(scores - reference).max())
    predicted, keras_predicted = scores.argmax(axis=1), reference.argmax(axis=1)
    different = int(np.sum(predicted != keras_predicted))
    correct = int(np.sum(predicted == split.labels))
    keras_correct = int(np.sum(keras_predicted == split.labels))
    # The runtime runs single images as well as batches, which must have the same scores.
    single = np.concatenate(
        [run(split.pixels[n : n + 1]) for n in range(min(SINGLE_IMAGES, count))]
    )
    batch_difference = float(np.abs(single - scores[: len(single)]).max())
    by_value = tolerance.compares_scores(precision)
    checks += [
        ExportCheck(
            "values",
            tolerance.allows_difference(precision, difference),
            f"largest difference {difference:.2g}"
            + (f" (at most {tolerance.max_difference:g})" if by_value else ""),
        ),
        ExportCheck(
            "top-1",
            tolerance.allows_flips(precision, different, count),
            f"{1 - different / count:.2%} of {count:,} predictions equal ({different} different)",
        ),
        ExportCheck(
            "accuracy",
            tolerance.allows_lost(precision, keras_correct - correct, count),
            f"{correct / count:.2%}, Keras {keras_correct / count:.2%}",
        ),
        ExportCheck(
            "batches",
            tolerance.allows_batch_difference(precision, batch_difference),
            f"largest difference between single and batched scores {batch_difference:.2g}",
        ),
    ]
    return Verification(tuple(checks))


def _shape(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("batch" if size is None else str(size) for size in shape) + ")"
