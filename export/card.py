"""Write a model card from an artifact and its reports.

The command is `digit-edge export-card`. The card is a Markdown file with the YAML index of Hugging
Face: https://huggingface.co/docs/hub/model-cards. Every figure comes from the artifact's spec or
from a report of `digit-edge benchmark…` that measured this very file.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import EdgeError, printable
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import CLASSES
from runtime.preprocess.form import INK, MNIST_FORM, PHOTO
from runtime.system import atomic_write

# File name of a report → the command that writes the report.
REPORTS = {
    "report.json": "benchmark",
    "robustness.json": "benchmark-robustness",
    "rejection.json": "benchmark-rejection",
    "photos.json": "benchmark-photos",
}
_MIDDLE = 2  # index of the middle one of the five strengths of a corruption
# Hugging Face's names; an artifact in C has none.
_LIBRARIES = {".tflite": "litert", ".onnx": "onnx", ".keras": "keras", ".c": "digit-edge"}
_MNIST_ID = "ylecun/mnist"  # of the data set on Hugging Face
_DIGITS = tuple("0123456789")

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Count:
    """Number of images with a property, `count` of `n`."""

    count: int
    n: int

    def __post_init__(self) -> None:
        if not isinstance(self.count + self.n, int) or not 0 <= self.count <= self.n or self.n == 0:
            raise ValueError(f"{self.count} of {self.n} images")

    @property
    def share(self) -> float:
        """The share, 0 to 1."""
        return self.count / self.n

    def __str__(self) -> str:
        """Return the share with Wilson's 95 % confidence interval."""
        from scipy.stats import binomtest

        low, high = binomtest(self.count, self.n).proportion_ci(method="wilson")
        return f"{self.share:.2%} ({low:.2%} to {high:.2%}; {self.count:,} of {self.n:,})"


@dataclass(frozen=True)
class Accuracy:
    """The accuracy on the test images of report.json.

    Attributes:
        dataset: name of the data set.
        correct: the correct predictions.
        classes: label → the correct predictions of its images.
        changed: number of predictions that differ from the Keras model's in correctness.
        created: date of the report.
    """

    dataset: str
    correct: Count
    classes: dict[str, Count]
    changed: int
    created: str


@dataclass(frozen=True)
class Robustness:
    """The figures of robustness.json.

    Attributes:
        corruptions: (corruption, strength, whether it was trained with, the correct predictions).
        other_writers: the correct predictions on scikit-learn's digits; None if not measured.
        created: date of the report.
    """

    corruptions: tuple[tuple[str, str, str, Count], ...]
    other_writers: Count | None
    created: str


@dataclass(frozen=True)
class Rejection:
    """The figures of rejection.json.

    Attributes:
        digits: the rejected test digits.
        kinds: kind of images → the rejected ones.
        created: date of the report.
    """

    digits: Count
    kinds: dict[str, Count]
    created: str


@dataclass(frozen=True)
class Photos:
    """The figures of photos.json.

    Attributes:
        singles: the correct predictions of single digits.
        writers: writer → the correct predictions of the writer's digits.
        created: date of the report.
    """

    singles: Count
    writers: dict[str, Count]
    created: str


@dataclass(frozen=True)
class Figures:
    """The figures of all reports; None if a report is missing or of another artifact."""

    accuracy: Accuracy | None
    robustness: Robustness | None
    rejection: Rejection | None
    photos: Photos | None


def main(argv: list[str] | None = None) -> int:
    """Run `digit-edge export-card` and return its exit status."""
    arguments = parse_args(argv)
    opened = artifact.read(arguments.model)
    folders = [arguments.reports] if arguments.reports else _default_folders(arguments.model)
    if arguments.reports and not arguments.reports.is_dir():
        raise EdgeError(f"--reports {arguments.reports}: no such folder")
    figures = read_figures(opened, folders)
    out = arguments.out or arguments.model.with_name("MODEL_CARD.md")
    atomic_write.write(out, make_card(opened, figures))
    print(printable(f"{out}: the card of {arguments.model}"))
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge export-card",
        "Write a model card (Markdown with Hugging Face's index) from an artifact's spec and "
        "from the reports that measured this artifact: data, use, accuracy, other data sets, "
        "corruptions, rejection and limits.",
        {0: "written"},
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("models/digits-int8.tflite"),
        metavar="PATH",
        help="the artifact to describe (default: %(default)s)",
    )
    parser.add_argument(
        "--reports",
        type=Path,
        metavar="FOLDER",
        help=f"folder of {', '.join(REPORTS)}; each is optional (default: the model's folder and "
        "its folder report)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the file to write (default: MODEL_CARD.md in the model's folder)",
    )
    return parser.parse_args(argv)


def _default_folders(model: Path) -> list[Path]:
    return [model.parent, model.parent / "report"]


def read_figures(opened: Artifact, folders: list[Path]) -> Figures:
    """Read the reports; print a note to stderr for each that did not measure this artifact.

    Args:
        opened: the artifact.
        folders: where the reports are looked for.

    Raises:
        EdgeError: a report cannot be read, or has another form.
    """
    return Figures(
        _read("report.json", folders, opened, _accuracy),
        _read("robustness.json", folders, opened, _robustness),
        _read("rejection.json", folders, opened, _rejection),
        _read("photos.json", folders, opened, _photos),
    )


def _read(
    name: str,
    folders: list[Path],
    opened: Artifact,
    parse: Callable[[dict[str, Any], str], Parsed | None],
) -> Parsed | None:
    """Return the figures of a report; None if no folder contains it.

    Args:
        name: file name of the report.
        folders: where it is looked for.
        opened: the artifact.
        parse: called with the JSON object and the artifact's digest; returns None if the report has
            no result of the artifact.
    """
    found = None
    for path in (folder / name for folder in folders if (folder / name).exists()):
        try:
            found = parse(json.loads(path.read_text(encoding="utf-8")), opened.spec.digest)
        except OSError as error:
            raise EdgeError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise EdgeError(
                f"{path} is not a report of digit-edge {REPORTS[name]}: write it again"
            ) from error
        if found is not None:
            break
        print(
            printable(
                f"note: {path} has no result of {opened.path} (digest {opened.spec.digest[:12]}…); "
                f"measure it with digit-edge {REPORTS[name]}"
            ),
            file=sys.stderr,
        )
    return found


def _accuracy(report: dict[str, Any], digest: str) -> Accuracy | None:
    parity = report["parity"]
    result = _of_digest(parity["results"], digest)
    if result is None:
        return None
    measured = result["candidate"]
    classes = {
        str(label): Count(row[index], sum(row))
        for index, (label, row) in enumerate(
            zip(parity["class_names"], measured["confusion"], strict=True)
        )
        if sum(row)
    }
    changed = int(result["only_original"]) + int(result["only_candidate"])
    correct = Count(measured["correct"], measured["n"])
    return Accuracy(str(parity["dataset"]), correct, classes, changed, report["created"][:10])


def _robustness(report: dict[str, Any], digest: str) -> Robustness | None:
    result = _of_digest(report["results"], digest)
    other = _of_digest(report["other_hands"], digest)
    if result is None and other is None:
        return None
    corruptions = tuple(
        (
            str(curve["corruption"]),
            str(curve["strengths"][_MIDDLE]),
            str(curve["training"]),
            _count(curve["readings"][_MIDDLE]),
        )
        for curve in (result["curves"] if result else ())
    )
    return Robustness(
        corruptions, None if other is None else _count(other["reading"]), report["created"][:10]
    )


def _rejection(report: dict[str, Any], digest: str) -> Rejection | None:
    result = _of_digest(report["results"], digest)
    if result is None:
        return None
    kinds = {str(kind["kind"]): Count(kind["refused"], kind["n"]) for kind in result["kinds"]}
    digits = Count(result["digits_refused"], result["digits"])
    return Rejection(digits, kinds, report["created"][:10])


def _photos(report: dict[str, Any], digest: str) -> Photos | None:
    if report["digest"] != digest or not report["singles"]:
        return None
    right: dict[str, list[bool]] = {}
    for single in report["singles"]:
        correct = single["label"] == single["photo"]["label"]
        right.setdefault(single["photo"]["writer"], []).append(correct)
    writers = {str(writer): Count(sum(each), len(each)) for writer, each in sorted(right.items())}
    total = Count(
        sum(each.count for each in writers.values()), sum(each.n for each in writers.values())
    )
    return Photos(total, writers, report["created"][:10])


def _of_digest(results: list[dict[str, Any]], digest: str) -> dict[str, Any] | None:
    return next((result for result in results if result["digest"] == digest), None)


def _count(record: dict[str, Any]) -> Count:
    return Count(record["correct"], record["n"])


def make_card(opened: Artifact, figures: Figures) -> str:
    """Return the text of the card.

    Args:
        opened: the artifact.
        figures: the figures of the reports.
    """
    lines = [
        "---",
        *_index(opened, figures),
        "---",
        "",
        f"# {_text(opened.spec.name)}: model card",
        "",
        *_summary(opened),
        *_use(opened),
        *_data(opened),
        *_accuracies(opened, figures),
        *_corruptions(figures),
        *_rejections(opened, figures),
        *_limits(opened),
        *_provenance(opened),
    ]
    return "\n".join(lines) + "\n"


def _index(opened: Artifact, figures: Figures) -> Iterator[str]:
    """Yield the lines of the YAML index."""
    spec = opened.spec
    yield f"library_name: {_LIBRARIES[opened.format]}"
    task = "image-classification" if spec.kind == CLASSES else "image-to-text"
    yield f"pipeline_tag: {task}"
    subject = "handwriting" if spec.form == INK else "image-classification"
    tags = ["digit-edge", subject, spec.precision, opened.format.removeprefix(".")]
    yield f"tags: {_yaml(tags)}"
    if spec.dataset.name == "MNIST":
        yield f"datasets: {_yaml([_MNIST_ID])}"
    results = list(_results(opened, figures))
    if not results:
        return
    yield "metrics: [accuracy]"
    yield "model-index:"
    yield f"  - name: {_yaml(spec.name)}"
    yield "    results:"
    for dataset, title, value in results:
        kind = _MNIST_ID if dataset == "MNIST" else dataset
        yield f"      - task: {{type: {task}}}"
        yield f"        dataset: {_yaml({'name': dataset, 'type': kind, 'split': 'test'})}"
        metric = {"type": "accuracy", "name": title, "value": round(value, 6)}
        yield f"        metrics: [{_yaml(metric)}]"


def _results(opened: Artifact, figures: Figures) -> Iterator[tuple[str, str, float]]:
    """Yield (data set, title, accuracy from 0 to 1)."""
    spec = opened.spec
    title = "accuracy" if spec.kind == CLASSES else "share of lines read exactly"
    if spec.metrics is not None:
        yield spec.dataset.name, f"test {title}", spec.metrics.test_accuracy
    if figures.robustness is not None and figures.robustness.other_writers is not None:
        yield "scikit-learn digits", "accuracy", figures.robustness.other_writers.share


def _summary(opened: Artifact) -> Iterator[str]:
    spec = opened.spec
    shape = " × ".join("any" if size is None else str(size) for size in spec.input_shape)
    content = "0 (background) to 255 (ink), in MNIST's form"
    if spec.form == PHOTO:
        content = "0 to 255: the whole image, resized"
    rows = {
        "file": f"{opened.path.name}, {len(opened.data):,} bytes",
        "SHA-256": spec.digest,
        "precision": spec.precision,
        "input": f"{shape} pixels, {content}",
        "labels": ", ".join(spec.labels),
    }
    if spec.source_sha256:
        rows["exported from"] = f"Keras file with SHA-256 {spec.source_sha256}"
    if spec.quantization is not None:
        rows["calibrated on"] = spec.quantization.calibration.name
    yield "| property | value |"
    yield "|---|---|"
    for name, value in rows.items():
        yield f"| {name} | {_text(value)} |"
    yield ""


def _use(opened: Artifact) -> Iterator[str]:
    spec = opened.spec
    yield "## Use"
    yield ""
    if spec.kind != CLASSES:
        yield "Reads a line of handwritten digits; `digit-edge read` uses it with a classifier."
    elif spec.form == PHOTO:
        yield (
            f"Classifies images as one of {len(spec.labels)} labels. "
            f"{_code(f'digit-edge classify --model {opened.path.name} IMAGE')} also resizes the "
            "image; another program must stretch the whole image to the size of the input."
        )
    else:
        yield (
            f"Classifies images of one handwritten character as one of {len(spec.labels)} labels. "
            f"{_code(f'digit-edge classify --model {opened.path.name} IMAGE')} also prepares the "
            "image; another program must center and scale the ink as MNIST does."
        )
    yield ""
    yield (
        "The model can be wrong with high confidence. Where an error harms somebody (doses, "
        "payments, grades), let a person check each result."
    )
    yield ""


def _data(opened: Artifact) -> Iterator[str]:
    spec, provenance = opened.spec, dict(opened.spec.provenance)
    yield "## Training data"
    yield ""
    digest = f" (SHA-256 {spec.dataset.sha256})" if spec.dataset.sha256 else ""
    yield f"{_text(spec.dataset.name)}{digest}."
    if "held back" in provenance:
        yield f"Held back for validation: {_text(provenance['held back'])}."
    if spec.dataset.name == "MNIST":
        yield (
            "MNIST (LeCun, Cortes and Burges; CC BY-SA 3.0) contains digits of employees of the "
            "US Census Bureau and of US high-school students of the 1990s. Digits of other "
            "countries, such as a 1 with a long upstroke or a crossed 7, are rare in it."
        )
    yield ""


def _accuracies(opened: Artifact, figures: Figures) -> Iterator[str]:
    metrics = opened.spec.metrics
    yield "## Accuracy"
    yield ""
    yield "With Wilson's 95 % confidence interval, which treats images as independent."
    yield ""
    yield "| images | correct | source |"
    yield "|---|---|---|"
    if metrics is not None:
        count = Count(round(metrics.test_accuracy * metrics.n_test), metrics.n_test)
        what = "test images" if opened.spec.kind == CLASSES else "lines of test digits"
        yield f"| {what} of {_text(opened.spec.dataset.name)} | {count} | the spec |"
    accuracy, photos = figures.accuracy, figures.photos
    if accuracy is not None:
        source = f"report.json, {_text(accuracy.created)}"
        for label, correct in accuracy.classes.items():
            name = f"label {_text(label)} of {_text(accuracy.dataset)}"
            yield f"| {name} | {correct} | {source} |"
    if figures.robustness is not None and figures.robustness.other_writers is not None:
        date = _text(figures.robustness.created)
        correct = figures.robustness.other_writers
        yield f"| scikit-learn's digits (other writers) | {correct} | robustness.json, {date} |"
    if photos is not None:
        source = f"photos.json, {_text(photos.created)}"
        yield f"| photographs, scans and drawings | {photos.singles} | {source} |"
        for writer, correct in photos.writers.items():
            yield f"| of writer {_text(writer)} | {correct} | {source} |"
    yield ""
    if accuracy is not None:
        yield (
            f"{accuracy.changed:,} of {accuracy.correct.n:,} test images are correct in only one "
            "of this file and the Keras model."
        )
        yield ""
    yield from _missing(opened, accuracy, "The accuracy by label is", "benchmark")
    yield from _missing(opened, photos, "The accuracy by writer is", "benchmark-photos")


def _corruptions(figures: Figures) -> Iterator[str]:
    yield "## Corrupted images"
    yield ""
    robustness = figures.robustness
    if robustness is None or not robustness.corruptions:
        yield "Not measured: `digit-edge benchmark-robustness`."
    else:
        yield f"The middle one of five strengths (robustness.json, {_text(robustness.created)})."
        yield ""
        yield "| corruption | strength | in training | correct |"
        yield "|---|---|---|---|"
        for name, strength, training, correct in robustness.corruptions:
            yield f"| {_text(name)} | {_text(strength)} | {_text(training)} | {correct} |"
    yield ""


def _rejections(opened: Artifact, figures: Figures) -> Iterator[str]:
    spec, rejection = opened.spec, figures.rejection
    if spec.kind != CLASSES:
        return
    yield "## Rejection"
    yield ""
    if spec.rejection_model is not None:
        yield "A rejection model in the file decides whether an image is one of the labels at all."
    elif spec.confidence_threshold > 0:
        yield f"A confidence below {spec.confidence_threshold:.4f} is rejected."
    else:
        yield "Every prediction is accepted, also that of an image that shows something else."
    yield ""
    if rejection is None:
        yield "Not measured: `digit-edge benchmark-rejection`."
    else:
        yield f"(rejection.json, {_text(rejection.created)})"
        yield ""
        yield "| images | rejected |"
        yield "|---|---|"
        yield f"| test images | {rejection.digits} |"
        for kind, rejected in rejection.kinds.items():
            yield f"| {_text(kind)} | {rejected} |"
    yield ""


def _limits(opened: Artifact) -> Iterator[str]:
    spec = opened.spec
    yield "## Limits"
    yield ""
    if spec.form == PHOTO:
        yield "- The whole image is classified: crop it to one object, as the training images are."
        yield "- Only photographs like the training images were tested."
        yield ""
        return
    if spec.labels[: len(_DIGITS)] == _DIGITS:
        yield "- Printed text, letters, operators and seven-segment displays are not read."
        yield "- Some continental 1s are read as 7; a crossed 7 can be read as another digit."
        yield "- Digits cropped without a margin are read less well."
    yield "- Color is ignored. Pages turned by 90° or 180° are not turned back."
    if spec.kind == CLASSES:
        yield "- One character an image" + (
            "; `digit-edge read` separates the characters of a page."
            if spec.pixel_form == MNIST_FORM
            else "."
        )
    yield ""


def _provenance(opened: Artifact) -> Iterator[str]:
    yield "## How it was made"
    yield ""
    for name, value in opened.spec.provenance:
        yield f"- {_text(name)}: {_code(value)}"
    yield ""
    yield (
        "Written by `digit-edge export-card`. `digit-edge selftest` checks the file on a device."
    )


def _missing(opened: Artifact, found: object, what: str, command: str) -> Iterator[str]:
    if found is None and opened.spec.kind == CLASSES:
        yield f"{what} not measured: `digit-edge {command}`."
        yield ""


def _yaml(value: object) -> str:
    """Return a value as JSON, which is valid YAML if its unprintable characters are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in text)


def _text(text: str) -> str:
    """Return a text of a file in one line, without Markdown or HTML of its own."""
    line = printable(" ".join(text.split()))
    for special in "\\`|<*_[]#":
        line = line.replace(special, f"\\{special}")
    return line


def _code(text: str) -> str:
    """Return a text in one line as Markdown code."""
    return f"`{printable(' '.join(text.split())).replace('`', chr(39))}`"


if __name__ == "__main__":
    sys.exit(exit_status(main))
