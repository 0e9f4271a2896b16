"""Parses the options of the commands export, export-tflite and export-onnx, and runs the exports.

The modules `export.__main__`, `export.tflite` and `export.onnx` call `run` with their formats.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from export.calibration import DEFAULT_IMAGES
from export.pipeline import ExportTarget, export
from export.verify import Verification
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED, DatasetError, EdgeError, ParityError, printable, report
from runtime.model.spec import SEQUENCE
from runtime.system import interrupt
from train.options import add_data_argument, whole


def run(targets: Sequence[ExportTarget], argv: list[str] | None) -> int:
    """Export a model to all targets, and print the checks.

    Args:
        targets: the file formats. With a single format, the command has the options --out and
            --quantize. With several formats, each is exported as float32 and as int8.
        argv: options of the command; None reads the options of the process.

    Returns:
        The exit status: 0, or 3 (CHECK_FAILED) if an artifact does not match the model. The other
        artifacts are still written.

    Raises:
        EdgeError: the model, the data or an option is unsuitable, or a file cannot be written.
    """
    arguments = _parse(targets, argv)
    from export import calibration
    from export.keras_model import open_source
    from train.data import load as datasets

    source = open_source(arguments.model)
    data = datasets.load(arguments.data)
    trained_on = source.artifact.spec.dataset
    if data.sha256 != trained_on.sha256:
        raise DatasetError(
            f"{arguments.model} was trained on {trained_on.name}, not on {data.name}: pass the "
            "training data with --data"
        )
    samples = lines = None
    if source.artifact.spec.kind == SEQUENCE:
        from export.lines import compose, export_lines

        lines = compose(data, arguments.calibration, arguments.seed)
    else:
        samples = calibration.choose(data, arguments.calibration, arguments.seed)
    failed = 0
    for target in targets:
        for quantize in arguments.precisions:
            interrupt.check()
            out = arguments.out or _default_out(arguments.model, target, quantize)
            print(printable(str(out)))
            try:
                if lines is not None:
                    exported = export_lines(source, target, lines, out, quantize, _print_checks)
                else:
                    used = samples if quantize else None
                    exported = export(source, target, data, out, used, _print_checks)
            except ParityError as error:
                report(error)
                failed += 1
            else:
                size_kb, digest = len(exported.data) / 1000, exported.spec.digest
                print(f"    {size_kb:,.0f} KB, digest {digest[:12]}…")
    return CHECK_FAILED if failed else 0


def _print_checks(verification: Verification) -> None:
    for check in verification.checks:
        print(printable(str(check)))
    sys.stdout.flush()


def _default_out(model: Path, target: ExportTarget, quantize: bool) -> Path:
    return model.with_name(model.stem + ("-int8" if quantize else "") + target.suffix)


def _parse(targets: Sequence[ExportTarget], argv: list[str] | None) -> argparse.Namespace:
    single_target = targets[0] if len(targets) == 1 else None
    artifacts = (
        f"a {single_target.suffix} artifact, float32 or int8"
        if single_target
        else f"{' and '.join(target.suffix for target in targets)} artifacts, each float32 and int8"
    )
    parser = CommandParser(
        f"digit-edge export{single_target.suffix.replace('.', '-') if single_target else ''}",
        f"Export a trained model as {artifacts}. An artifact is run in the device's "
        "engine on the test images, and written only if its scores match the model's.",
        {0: "written", 3: "an artifact does not match the model"},
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("models/digits.keras"),
        metavar="PATH",
        help="the model that train wrote (default: %(default)s)",
    )
    add_data_argument(parser, "the images that the model was trained on")
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
    if single_target:
        suffix = single_target.suffix
        parser.add_argument("--quantize", action="store_true", help="int8 instead of float32")
        parser.add_argument(
            "--out",
            type=Path,
            metavar="FILE",
            help=f"the file to write (default: digits{suffix} or digits-int8{suffix} in the "
            "model's folder)",
        )
    arguments = parser.parse_args(argv)
    if single_target:
        for option in ("calibration", "seed"):
            if getattr(arguments, option) is not None and not arguments.quantize:
                raise EdgeError(f"--{option} only affects int8 artifacts: pass --quantize too")
        arguments.precisions = (arguments.quantize,)
        if arguments.out and arguments.out.suffix != single_target.suffix:
            parser.error(f"--out must end in {single_target.suffix}")
    else:
        arguments.precisions, arguments.out = (False, True), None
    if arguments.calibration is None:
        arguments.calibration = DEFAULT_IMAGES
    if arguments.seed is None:
        arguments.seed = 0
    return arguments
