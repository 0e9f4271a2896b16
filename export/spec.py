"""python -m export.spec MODEL --labels …: give a spec to a model made elsewhere."""

import argparse
import dataclasses
import sys
from pathlib import Path

from export import onnx, tflite
from export.keras_model import load_keras, scores_of
from runtime.backends import open_backend
from runtime.cli.exit_status import exit_status
from runtime.errors import ArtifactError, printable
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.model.spec import Dataset, GoldenOutputs, ModelSpec, Quantization
from runtime.preprocess.mnist_format import PIXELS_SHAPE

_UNKNOWN = Dataset("unknown", "")


def main(argv: list[str] | None = None) -> int:
    """The command `python -m export.spec`."""
    arguments = parse_args(argv)
    made = add_spec(arguments.model, arguments.labels, arguments.out or arguments.model)
    print(f"{printable(str(made.path))}: {len(made.spec.labels)} labels, {made.spec.precision}")
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m export.spec",
        description="Give a spec to a .tflite, .onnx or .keras model made elsewhere, so that the "
        "runtime opens it. The model takes images of 28×28×1 from 0 (background) to 1 (ink), or "
        "int8 = pixel − 128, and answers with a softmax.",
        epilog="Exit status: 0 written, 2 bad input.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file without a spec")
    parser.add_argument(
        "--labels",
        required=True,
        type=lambda text: tuple(text.split(",")),
        metavar="A,B,…",
        help="the classes in the order of the scores: 0,1,2,3,4,5,6,7,8,9",
    )
    parser.add_argument(
        "--out", type=Path, metavar="PATH", help="the file to write (default: MODEL itself)"
    )
    return parser.parse_args(argv)


def add_spec(path: Path, labels: tuple[str, ...], out: Path) -> Artifact:
    """Write the model at `path` to `out` with a spec: its labels, and golden answers of its own.

    Raises:
        ArtifactError: it has a spec already, or is no model that the runtime can run.
        EdgeError: `out` cannot be written.
    """
    data = artifact.read_bare(path)
    if out.suffix != path.suffix:
        raise ArtifactError(f"{out} must end in {path.suffix}, as {path} does")
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
        model = load_keras(path)
        # A model of several inputs has a list of shapes, one that was never built has none.
        shapes = [getattr(model, name, None) for name in ("input_shape", "output_shape")]
        if shapes != [(None, *PIXELS_SHAPE), (None, len(labels))]:
            raise ArtifactError(
                f"{path} takes {shapes[0]} and gives {shapes[1]}: give a model that takes "
                f"(None, 28, 28, 1) and gives (None, {len(labels)}), one score a label"
            )
        scores = scores_of(model, pixels)
    else:
        spec = _with_quantization(spec, path, data)
        scores = open_backend(Artifact(path, data, spec)).scores(pixels)
    golden = GoldenOutputs(pixels, scores)
    return artifact.write(out, data, dataclasses.replace(spec, golden=golden))


def _with_quantization(spec: ModelSpec, path: Path, data: bytes) -> ModelSpec:
    target = tflite if path.suffix == ".tflite" else onnx
    try:
        found = target.quantization(data)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    if found is None:
        return spec
    return dataclasses.replace(
        spec, precision="int8", quantization=Quantization(*found, calibration=_UNKNOWN)
    )


if __name__ == "__main__":
    sys.exit(exit_status(main))
