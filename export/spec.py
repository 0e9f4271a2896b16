"""Add a spec to a model made with other tools.

The command is `digit-edge export-spec`. The runtime only opens models with a spec: class names,
precision, the form of input and output, golden outputs and a digest. Golden outputs are a few
images with the model's scores; the self-test compares an engine's scores with these.
"""

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from export import onnx, tflite
from export.find_interface import (
    Examples,
    Found,
    Options,
    find,
    golden_pixels,
    of_split,
    photo_form,
)
from export.keras_model import HDF5_SUFFIXES
from export.labels import add_form_argument, add_labels_argument
from export.own_keras import (
    UNKNOWN,
    base_spec,
    form_of_keras,
    open_bare_keras,
    print_found,
    with_interface,
)
from runtime.backends import Pixels, Scores, open_backend
from runtime.backends.codec import Tensor
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import ArtifactError, printable
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.interface import ACTIVATIONS, LAYOUTS, POLARITIES, Interface
from runtime.model.spec import (
    GoldenOutputs,
    Quantization,
)
from runtime.preprocess.form import MNIST_FORM, PHOTO, Form
from train.options import add_data_argument

if TYPE_CHECKING:
    pass

# The smallest --scale: a smaller number is a factor such as 1/255, not the largest value.
_MIN_SCALE = 0.1


def main(argv: list[str] | None = None) -> int:
    """Run `digit-edge export-spec` and return its exit status."""
    arguments = parse_args(argv)
    out = arguments.out or _default_out(arguments.model)
    form = _form(arguments.model, arguments.form, arguments.layout)
    options = Options(
        arguments.scale,
        arguments.mean,
        arguments.std,
        arguments.layout,
        arguments.polarity,
        arguments.activation,
        form,
    )
    examples = None
    if arguments.data is not None:
        from train.data import load as datasets

        data = datasets.load(arguments.data, form=form)
        examples = of_split(data.name, data.test.pixels, data.test.labels, data.labels)

    def on_found(found: Found) -> None:
        print_found(out, found)

    spec = add_spec(arguments.model, arguments.labels, out, options, examples, on_found).spec
    print(f"{printable(str(out))}: {len(spec.labels)} labels, {spec.precision}")
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge export-spec",
        "Add a spec to a .tflite, .onnx, .keras or .h5 model made with other tools, so that the "
        "runtime can open it. Shapes and types are read from the model. Models of the ten digits "
        "are tried on known digits to find the scale and the polarity of their input; the options "
        "state what is not in the file. An input value is (pixel / 255 × scale − mean) / std.",
        {0: "written"},
    )
    parser.add_argument("model", type=Path, metavar="PATH", help="a model file without a spec")
    add_labels_argument(parser, required=True)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the file to write (default: the model itself, or a .keras file beside an .h5 file)",
    )
    add_form_argument(parser)
    add_data_argument(parser, "images to try the model on, if its classes are not the ten digits")
    parser.add_argument(
        "--scale",
        type=_scale,
        metavar="X",
        help="the largest input value before --mean and --std: 1 or 255 (default: found, or 1)",
    )
    for name, kind, default in (("mean", _numbers, "0"), ("std", _positive, "1")):
        parser.add_argument(
            f"--{name}",
            type=kind,
            metavar="X",
            help=f"one number, or one for each channel: X,X,X (default: found, or {default})",
        )
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        metavar="NAME",
        help="nhwc, channels last, or nchw, channels first, if the input's shape does not show it",
    )
    parser.add_argument(
        "--polarity",
        choices=POLARITIES,
        metavar="NAME",
        help="light: light ink on dark paper, as in MNIST; or dark (default: found, or light)",
    )
    parser.add_argument(
        "--activation",
        choices=ACTIVATIONS,
        metavar="NAME",
        help=f"what the model returns: {', '.join(ACTIVATIONS)} (default: found by its scores)",
    )
    return parser.parse_args(argv)


def add_spec(
    path: Path,
    labels: tuple[str, ...],
    out: Path,
    options: Options | None = None,
    examples: Examples | None = None,
    on_found: Callable[[Found], None] = lambda _: None,
) -> Artifact:
    """Write the model at `path` to `out` with a spec: the labels, and golden outputs of the model.

    Args:
        path: a .tflite, .onnx, .keras or .h5 file without a spec of this project's training.
        labels: class names in the order of the scores.
        out: the file to write, with the suffix of `path`, or .keras for .h5; may be `path` itself.
        options: what the maker of the model states about its input and output.
        examples: images of its classes; None takes digits if the model has the ten digits.
        on_found: called with the interface of the model before the file is written.

    Returns:
        The written artifact.

    Raises:
        ArtifactError: the model has a spec already, cannot be run, does not take one image, or does
            not return one score for each label. Or `out` has another suffix than `path`.
        BackendUnavailable: the engine of the file format is not installed.
        EdgeError: `out` cannot be written.
    """
    if path.suffix in HDF5_SUFFIXES:
        if out.suffix != ".keras":
            raise ArtifactError(f"--out {out}: pass a name that ends in .keras")
    elif out.suffix != path.suffix and path.suffix in (".tflite", ".onnx", ".keras"):
        raise ArtifactError(f"--out {out}: pass a name that ends in {path.suffix}, as {path} does")
    if path.suffix in (".keras", *HDF5_SUFFIXES):
        opened = open_bare_keras(path, labels, options, examples, on_found)
        return artifact.write(out, opened.artifact.data, opened.artifact.spec)
    data = artifact.read_bare(path)
    form = MNIST_FORM if options is None else options.form
    spec = base_spec(path, labels, form)
    target = tflite if path.suffix == ".tflite" else onnx
    try:
        inputs, outputs = target.tensors(data)
        params = target.quantization(data)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    if params is not None:
        quantization = Quantization(params[0], params[1], UNKNOWN)
        spec = dataclasses.replace(spec, precision="int8", quantization=quantization)

    def run(interface: Interface, pixels: Pixels) -> Scores:
        reading = dataclasses.replace(spec, interface=interface)
        return open_backend(Artifact(path, data, reading)).scores(pixels)

    source, result = _single(path, inputs, outputs)
    found = find(str(path), source, result, labels, run, options, examples)
    on_found(found)
    spec = with_interface(spec, found.interface, source, result, path.suffix)
    pixels = golden_pixels(form)
    scores = open_backend(Artifact(path, data, spec)).scores(pixels)
    return artifact.write(
        out, data, dataclasses.replace(spec, golden=GoldenOutputs(pixels, scores))
    )


def _form(path: Path, name: str | None, layout: str | None) -> Form:
    """Return the form of a model without a spec; of photographs, with the size of its input."""
    if name != PHOTO or path.suffix in (".keras", *HDF5_SUFFIXES):
        return form_of_keras(path, name)
    data = artifact.read_bare(path)
    target = tflite if path.suffix == ".tflite" else onnx
    try:
        inputs, outputs = target.tensors(data)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    source, result = _single(path, inputs, outputs)
    return photo_form(str(path), source, result, layout)


def _default_out(model: Path) -> Path:
    return model.with_suffix(".keras") if model.suffix in HDF5_SUFFIXES else model


def _single(path: Path, inputs: list[Tensor], outputs: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the input and the output of a model.

    Raises:
        ArtifactError: the model has several.
    """
    if len(inputs) != 1 or len(outputs) != 1:
        raise ArtifactError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs: convert it again with "
            "one image as input and only the scores as output"
        )
    return inputs[0], outputs[0]


def _scale(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not _MIN_SCALE <= scale < float("inf"):
        raise argparse.ArgumentTypeError(
            f"{text} is not the largest input value: pass 1 for values from 0 to 1, 255 for values "
            "from 0 to 255"
        )
    return scale


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(
            f"{text} is not a number, or one number for each channel, such as 0.485,0.456,0.406"
        )
    return numbers


def _positive(text: str) -> tuple[float, ...]:
    numbers = _numbers(text)
    if min(numbers) <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return numbers


if __name__ == "__main__":
    sys.exit(exit_status(main))
