"""Parses the options of the commands export, export-tflite and export-onnx, and runs the exports.

The modules `export.__main__`, `export.tflite` and `export.onnx` call `run` with their formats. A
Keras model made with other tools gets its spec here, with --labels, or earlier by `export.spec`.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from export.calibration import DEFAULT_IMAGES
from export.find_interface import Options, of_split
from export.keras_model import KerasModel, check_keras_file, open_source, with_levels
from export.labels import add_form_argument, add_labels_argument
from export.own_keras import UNKNOWN, form_of_keras, open_bare_keras, print_found
from export.pipeline import ExportTarget, export
from export.verify import Verification
from runtime.cli.parser import CommandParser
from runtime.errors import (
    CHECK_FAILED,
    ArtifactError,
    ConversionError,
    DatasetError,
    EdgeError,
    ParityError,
    printable,
    report,
)
from runtime.model import artifact
from runtime.model.spec import CLASSES, PRECISIONS, SEQUENCE
from runtime.preprocess.form import MNIST_FORM, Form
from runtime.system import interrupt
from train.data.splits import DataSet, Split
from train.options import add_data_argument, whole

FLOAT32, FLOAT16, INT8 = PRECISIONS


def run(targets: Sequence[ExportTarget], argv: list[str] | None) -> int:
    """Export a model to all targets, and print the checks.

    Args:
        targets: the file formats. With a single format, the command has the options --out and
            --quantize. With several formats, each is exported as float32 and as int8.
        argv: options of the command; None reads the options of the process.

    Returns:
        The exit status: 0, or 3 (CHECK_FAILED) if an artifact does not match the model or cannot be
        converted. The other artifacts are still written.

    Raises:
        EdgeError: the model, the data or an option is unsuitable, or a file cannot be written.
    """
    arguments = _parse(targets, argv)
    from export import calibration
    from train.data import load as datasets

    check_keras_file(arguments.model)
    check_labels(arguments.model, arguments.labels)
    source = open_source(arguments.model) if arguments.labels is None else None
    if source is None:
        form = form_of_keras(arguments.model, arguments.form)
        data = datasets.load(arguments.data, form=form)
        source = open_elsewhere(arguments.model, arguments.labels, data, form)
    else:
        kind, form = source.artifact.spec.kind, MNIST_FORM
        if kind == CLASSES:
            form = source.artifact.spec.pixel_form
        data = datasets.load(arguments.data, form=form)
    if source.artifact.spec.dataset == UNKNOWN:
        data = in_order_of(data, source.artifact.spec.labels, arguments.model)
    elif data.sha256 != source.artifact.spec.dataset.sha256:
        raise DatasetError(
            f"{arguments.model} was trained on {source.artifact.spec.dataset.name}, not on "
            f"{data.name}: pass the training data with --data"
        )
    if arguments.scale is not None:
        source = with_levels(source)
    samples = lines = None
    if source.artifact.spec.kind == SEQUENCE:
        from export.lines import compose, export_lines

        lines = compose(data, arguments.calibration, arguments.seed)
    elif INT8 in arguments.precisions:
        samples = calibration.choose(data, arguments.calibration, arguments.seed)
        samples = dataclasses.replace(
            samples, encode=source.encode, has_float_io=arguments.scale is not None
        )
    failed = 0
    for target in targets:
        for precision in arguments.precisions:
            if precision == FLOAT16 and target.convert_float16 is None and len(targets) > 1:
                continue
            interrupt.check()
            out = arguments.out or _default_out(arguments.model, target, precision)
            print(printable(str(out)))
            try:
                if lines is not None:
                    quantize = precision == INT8
                    exported = export_lines(source, target, lines, out, quantize, _print_checks)
                else:
                    used = samples if precision == INT8 else None
                    float16 = precision == FLOAT16
                    exported = export(source, target, data, out, used, _print_checks, float16)
            except (ParityError, ConversionError) as error:
                report(error)
                failed += 1
            else:
                size_kb, digest = len(exported.data) / 1000, exported.spec.digest
                print(f"    {size_kb:,.0f} KB, digest {digest[:12]}…")
    return CHECK_FAILED if failed else 0


def check_labels(model: Path, labels: tuple[str, ...] | None) -> None:
    """Check that --labels is passed for a model without a spec, and only for it.

    Raises:
        ArtifactError: it is not.
    """
    known = model.suffix == ".keras" and artifact.has_spec(model)
    if known and labels is not None:
        raise ArtifactError(
            f"{model} has a spec already: leave out --labels, or change the spec with digit-edge "
            "export-spec"
        )
    if not known and labels is None:
        raise ArtifactError(
            f"{model} has no spec: pass its class names with --labels, such as --labels 0-9, or "
            f"convert it with digit-edge export-spec {model} --labels 0-9"
        )


def open_elsewhere(
    path: Path, labels: tuple[str, ...], data: DataSet, form: Form = MNIST_FORM
) -> KerasModel:
    """Open a Keras model that other tools made, and find its interface with the data's images."""
    data = in_order_of(data, labels, path)
    examples = of_split(f"images of {data.name}", data.train.pixels, data.train.labels, labels)
    return open_bare_keras(
        path, labels, Options(form=form), examples, lambda found: print_found(path, found)
    )


def in_order_of(data: DataSet, labels: tuple[str, ...], model: Path) -> DataSet:
    """Return a data set with its classes in the order of a model's labels.

    Raises:
        DatasetError: the classes are not those of the model.
    """
    if sorted(data.labels) != sorted(labels):
        raise DatasetError(
            f"{data.name} has the classes {', '.join(data.labels)}, but {model} predicts "
            f"{', '.join(labels)}: pass images of the model's classes with --data, or correct its "
            "labels"
        )
    order = np.array([labels.index(label) for label in data.labels])
    return dataclasses.replace(
        data,
        labels=labels,
        train=Split(data.train.pixels, order[data.train.labels]),
        test=Split(data.test.pixels, order[data.test.labels]),
    )


def _print_checks(verification: Verification) -> None:
    for check in verification.checks:
        print(printable(str(check)))
    sys.stdout.flush()


def _default_out(model: Path, target: ExportTarget, precision: str) -> Path:
    ending = "" if precision == FLOAT32 else f"-{precision}"
    return model.with_name(model.stem + ending + target.suffix)


def _parse(targets: Sequence[ExportTarget], argv: list[str] | None) -> argparse.Namespace:
    single_target = targets[0] if len(targets) == 1 else None
    artifacts = (
        f"a {single_target.suffix} artifact, {' or '.join(_precisions(single_target))}"
        if single_target
        else f"{' and '.join(target.suffix for target in targets)} artifacts, each float32 and int8"
    )
    parser = CommandParser(
        f"digit-edge export{single_target.suffix.replace('.', '-') if single_target else ''}",
        f"Export a trained model as {artifacts}. An artifact is run in the device's "
        "engine on the test images, and written only if its scores match the model's.",
        {0: "written", 3: "an artifact does not match the model, or cannot be converted"},
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("models/digits.keras"),
        metavar="PATH",
        help="the model that train wrote, or a .keras or .h5 file made with other tools "
        "(default: %(default)s)",
    )
    add_labels_argument(parser, required=False)
    add_data_argument(
        parser, "the images that the model was trained on, or any images of its classes"
    )
    parser.add_argument(
        "--precision",
        choices=_precisions(*targets),
        metavar="NAME",
        help=f"number format of the weights: {', '.join(_precisions(*targets))} (default: "
        + (f"{FLOAT32})" if single_target else f"{FLOAT32} and {INT8})"),
    )
    parser.add_argument(
        "--calibration",
        type=int,
        metavar="N",
        help="number of training images that calibrate int8 quantization "
        f"(default: {DEFAULT_IMAGES})",
    )
    parser.add_argument(
        "--seed",
        type=whole(0),
        metavar="N",
        help="random seed of the choice of calibration images (default: 0)",
    )
    parser.add_argument(
        "--scale",
        type=int,
        choices=(255,),
        metavar="N",
        help="take pixels from 0 to 255 as float32, one image a call, in int8 files too: for "
        "firmware that does so, such as AI-on-the-edge-device (default: 0 to 1, int8 in int8 "
        "TFLite files)",
    )
    add_form_argument(parser)
    if single_target:
        suffix = single_target.suffix
        parser.add_argument(
            "--quantize", action="store_true", help=f"the same as --precision {INT8}"
        )
        parser.add_argument(
            "--out",
            type=Path,
            metavar="FILE",
            help=f"the file to write (default: digits{suffix} or digits-int8{suffix} in the "
            "model's folder)",
        )
    arguments = parser.parse_args(argv)
    if single_target:
        if arguments.quantize and arguments.precision not in (None, INT8):
            raise EdgeError(f"--quantize is --precision {INT8}: pass only one of the two")
        arguments.precision = INT8 if arguments.quantize else arguments.precision or FLOAT32
    arguments.precisions = (
        (FLOAT32, INT8) if arguments.precision is None else (arguments.precision,)
    )
    for option in ("calibration", "seed"):
        if getattr(arguments, option) is not None and INT8 not in arguments.precisions:
            remedy = "--quantize" if single_target else f"--precision {INT8}"
            raise EdgeError(f"--{option} only affects int8 artifacts: pass {remedy} too")
    if single_target:
        if arguments.out and arguments.out.suffix != single_target.suffix:
            parser.error(f"--out must end in {single_target.suffix}")
    else:
        arguments.out = None
    if arguments.form is not None and arguments.labels is None:
        raise EdgeError("--form is for models without a spec, as --labels: leave it out")
    if arguments.calibration is None:
        arguments.calibration = DEFAULT_IMAGES
    if arguments.seed is None:
        arguments.seed = 0
    return arguments


def _precisions(*targets: ExportTarget) -> tuple[str, ...]:
    """Return the precisions that any of the formats has."""
    has_float16 = any(target.convert_float16 is not None for target in targets)
    return (FLOAT32, FLOAT16, INT8) if has_float16 else (FLOAT32, INT8)
