"""Add a spec to a model made with other tools.

The command is `digit-edge export-spec`. The runtime only opens models with a spec: class names,
precision, golden outputs and a digest. Golden outputs are a few images with the model's scores; the
self-test compares an engine's scores with these.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from export import onnx, tflite
from export.keras_model import load_keras, scores_of
from runtime.backends import open_backend
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import ArtifactError, printable
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import Dataset, GoldenOutputs, ModelSpec, Quantization
from runtime.preprocess.mnist_format import PIXELS_SHAPE

# Name and digest of the training data and the calibration data, for the spec of such a model.
_UNKNOWN = Dataset("unknown", "")


def main(argv: list[str] | None = None) -> int:
    """Run `digit-edge export-spec` and return its exit status."""
    arguments = parse_args(argv)
    written = add_spec(arguments.model, arguments.labels, arguments.out or arguments.model)
    path, spec = printable(str(written.path)), written.spec
    print(f"{path}: {len(spec.labels)} labels, {spec.precision}")
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command's options."""
    parser = CommandParser(
        "digit-edge export-spec",
        "Add a spec to a .tflite, .onnx or .keras model made with other tools, so that "
        "the runtime can open it. The model's input is 28×28×1 from 0 (background) to 1 (ink), or "
        "int8 = pixel − 128; its output is a softmax.",
        {0: "written"},
    )
    parser.add_argument("model", type=Path, metavar="PATH", help="a model file without a spec")
    parser.add_argument(
        "--labels",
        required=True,
        type=lambda text: tuple(text.split(",")),
        metavar="A,B,…",
        help="the class names in the order of the scores, such as 0,1,2,3,4,5,6,7,8,9",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the file to write (default: the model itself)"
    )
    return parser.parse_args(argv)


def add_spec(path: Path, labels: tuple[str, ...], out: Path) -> Artifact:
    """Write the model at `path` to `out` with a spec: the labels, and golden outputs of the model.

    Args:
        path: a .tflite, .onnx or .keras file without a spec.
        labels: class names in the order of the scores.
        out: the file to write, with the suffix of `path`; may be `path` itself.

    Returns:
        The written artifact.

    Raises:
        ArtifactError: the model has a spec already, cannot be run, or has other shapes than
            (N, 28, 28, 1) and (N, number of labels). Or `out` has another suffix than `path`.
        BackendUnavailable: the engine of the file format is not installed.
        EdgeError: `out` cannot be written, or scikit-learn is not installed.
    """
    data = artifact.read_bare(path)
    if out.suffix != path.suffix:
        raise ArtifactError(f"--out {out}: pass a name that ends in {path.suffix}, as {path} does")
    spec = ModelSpec(
        name=path.stem,
        labels=labels,
        input_shape=PIXELS_SHAPE,
        precision="float32",
        temperature=1.0,
        confidence_threshold=0.0,
        source_sha256="",
        dataset=_UNKNOWN,
        metrics=None,
        golden=None,
        provenance=(("made", "elsewhere"),),
    )
    from train.save import golden_inputs

    pixels = golden_inputs()
    if path.suffix == ".keras":
        model = load_keras(path, data)
        # A model with several inputs has a list of shapes, and a model that was not built has none.
        input_shape = getattr(model, "input_shape", None)
        output_shape = getattr(model, "output_shape", None)
        if (input_shape, output_shape) != ((None, *PIXELS_SHAPE), (None, len(labels))):
            raise ArtifactError(
                f"{path} has input shape {input_shape} and output shape {output_shape}, not "
                f"(None, 28, 28, 1) and (None, {len(labels)}): use a model with these shapes, and "
                "pass one label per score"
            )
        scores = scores_of(model, pixels)
    else:
        spec = _with_quantization(spec, path, data)
        scores = open_backend(Artifact(path, data, spec)).scores(pixels)
    golden = GoldenOutputs(pixels, scores)
    return artifact.write(out, data, dataclasses.replace(spec, golden=golden))


def _with_quantization(spec: ModelSpec, path: Path, data: bytes) -> ModelSpec:
    """Return the spec with the quantization parameters of a .tflite or .onnx file, if any."""
    quantization_of = tflite.quantization if path.suffix == ".tflite" else onnx.quantization
    try:
        params = quantization_of(data)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    if params is None:
        return spec
    input_params, output_params = params
    quantization = Quantization(input_params, output_params, calibration=_UNKNOWN)
    return dataclasses.replace(spec, precision="int8", quantization=quantization)


if __name__ == "__main__":
    sys.exit(exit_status(main))
