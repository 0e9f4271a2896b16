"""Export a line reader: composes lines, converts, and compares the artifact with Keras on them."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.calibration import Calibration
from export.keras_model import INPUT_NAME, OUTPUT_NAME, KerasModel
from export.pipeline import ExportTarget, convert
from export.verify import ExportCheck, Verification
from runtime.backends import Pixels, Scores
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import Dataset, GoldenOutputs, Metrics
from train.data.splits import DataSet, Split
from train.lines.batches import LineBatch, stack
from train.lines.compose import Composer
from train.lines.fit import LABELS, decode
from train.negatives import letter_fonts

_TEST_LINES = 500
_BATCH = 25
_MAX_DIFFERENCE = 1e-3  # of any logit of a float artifact; logits are up to about 30
_MAX_LOST_SHARE = 0.01  # of the lines that an int8 artifact may read wrong and Keras does not


@dataclass(frozen=True)
class ComposedLines:
    """Lines to export with.

    Attributes:
        train: composed of training digits.
        test: composed of test digits.
        calibration: lines of training digits, all of one width.
    """

    train: tuple[LineBatch, ...]
    test: tuple[LineBatch, ...]
    calibration: Calibration


def compose(data: DataSet, calibration_lines: int, seed: int) -> ComposedLines:
    """Compose the lines to export with; the same seed gives the same lines."""
    lines = _composer(data.train).lines(calibration_lines, (seed, 0))
    batch = stack(lines)
    counts = Counter("".join(batch.texts))
    name = f"{len(lines)} lines composed of training images of {data.name}"
    return ComposedLines(
        tuple(_batches(data.train, (seed, 1))),
        tuple(_batches(data.test, (seed, 2))),
        Calibration(
            batch.pixels,
            Dataset(name, hashlib.sha256(batch.pixels.tobytes()).hexdigest()),
            tuple(counts.get(label, 0) for label in LABELS),
        ),
    )


def export_lines(
    source: KerasModel,
    target: ExportTarget,
    lines: ComposedLines,
    out: Path,
    quantize: bool,
    on_verified: Callable[[Verification], None] = lambda _: None,
) -> Artifact:
    """Convert, run against the Keras model through the engine of the device, and keep if it passes.

    Args:
        source: a line reader.
        target: the format.
        lines: see `compose`.
        out: the file to write; its former content stays if the new artifact fails.
        quantize: int8 instead of float32.
        on_verified: called with the outcome of every check, before a failure is raised.

    Raises:
        ParityError: the artifact does not predict as the Keras model does; nothing is written.
        ArtifactError: a converter or the engine refuses the model.
        EdgeError: `out` cannot be written.
    """
    model, spec, candidate = convert(source, target, out, lines.calibration if quantize else None)
    signature = target.describe(model)
    names = signature.input_name, signature.output_name
    checks = [
        ExportCheck("names", names == (INPUT_NAME, OUTPUT_NAME), " → ".join(names)),
        *_compare(candidate.scores, source.scores, lines.test, spec.precision),
    ]
    outcome = Verification(tuple(checks))
    on_verified(outcome)
    outcome.raise_if_failed(out)
    known = source.artifact.spec.golden
    spec = dataclasses.replace(
        spec,
        metrics=Metrics(
            train_accuracy=_exact_share(candidate.scores, lines.train),
            n_train=sum(len(batch.texts) for batch in lines.train),
            test_accuracy=_exact_share(candidate.scores, lines.test),
            n_test=sum(len(batch.texts) for batch in lines.test),
        ),
        golden=known and GoldenOutputs(known.pixels, candidate.scores(known.pixels)),
    )
    return artifact.write(out, model, spec)


def _compare(
    run: Callable[[Pixels], Scores],
    reference: Callable[[Pixels], Scores],
    batches: tuple[LineBatch, ...],
    precision: str,
) -> Iterator[ExportCheck]:
    """Yield the checks of an artifact's logits against Keras's."""
    difference, same, total, lost = 0.0, 0, 0, 0
    for batch in batches:
        found, wanted = run(batch.pixels), reference(batch.pixels)
        if found.shape != wanted.shape or not np.isfinite(found).all():
            yield ExportCheck("values", False, f"{found.shape} scores, Keras {wanted.shape}")
            return
        difference = max(difference, float(np.abs(found - wanted).max()))
        for one, other, text in zip(found, wanted, batch.texts, strict=True):
            read, expected = decode(one), decode(other)
            same += read == expected
            lost += (expected == text) - (read == text)
            total += 1
    is_float = precision == "float32"
    yield ExportCheck(
        "values",
        difference <= _MAX_DIFFERENCE or not is_float,
        f"largest difference of a logit {difference:.2g}"
        + (f" (at most {_MAX_DIFFERENCE:g})" if is_float else ""),
    )
    yield ExportCheck(
        "lines",
        lost <= _MAX_LOST_SHARE * total,
        f"{same / total:.1%} of {total:,} lines the same; {lost} fewer exact than Keras",
    )


def _exact_share(run: Callable[[Pixels], Scores], batches: tuple[LineBatch, ...]) -> float:
    exact = [
        decode(scores) == text
        for batch in batches
        for scores, text in zip(run(batch.pixels), batch.texts, strict=True)
    ]
    return float(np.mean(exact))


def _composer(split: Split) -> Composer:
    return Composer(split.pixels, split.labels, None, letter_fonts())


def _batches(split: Split, seed: tuple[int, int]) -> Iterator[LineBatch]:
    lines = _composer(split).lines(_TEST_LINES, seed)
    lines.sort(key=lambda line: line.pixels.shape[1])
    for at in range(0, len(lines), _BATCH):
        yield stack(lines[at : at + _BATCH])
