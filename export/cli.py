"""The command line that every export target shares."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from export.pipeline import DEFAULT_CALIBRATION, ExportTarget, export
from export.verify import Verification
from runtime.errors import CHECK_FAILED, DatasetError, EdgeError, ParityError, printable, report
from runtime.model.spec import SEQUENCE
from runtime.system import interrupt
from train.options import whole


def run(targets: Sequence[ExportTarget], argv: list[str] | None) -> int:
    """The body of `python -m export`, `export.tflite` and `export.onnx`."""
    arguments = _parse(targets, argv)
    from export import calibration
    from export.keras_model import open_source
    from train.data import load as datasets

    source = open_source(arguments.model)
    data = datasets.load(arguments.data)
    trained_on = source.artifact.spec.dataset
    if data.sha256 != trained_on.sha256:
        raise DatasetError(
            f"{arguments.model} was trained on {trained_on.name}, this data is {data.name}: "
            "give the same with --data"
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
                    made = export_lines(source, target, lines, out, quantize, _print_checks)
                else:
                    used = samples if quantize else None
                    made = export(source, target, data, out, used, _print_checks)
            except ParityError as error:
                report(error)
                failed += 1
            else:
                print(f"    {len(made.data) / 1000:,.0f} KB, digest {made.spec.digest[:12]}…")
    return CHECK_FAILED if failed else 0


def _print_checks(outcome: Verification) -> None:
    for check in outcome.checks:
        print(printable(str(check)))
    sys.stdout.flush()


def _default_out(model: Path, target: ExportTarget, quantize: bool) -> Path:
    return model.with_name(model.stem + ("-int8" if quantize else "") + target.suffix)


def _parse(targets: Sequence[ExportTarget], argv: list[str] | None) -> argparse.Namespace:
    only = targets[0] if len(targets) == 1 else None
    made = (
        f"a {only.suffix} artifact, float32 or int8"
        if only
        else f"{' and '.join(target.suffix for target in targets)} artifacts, each float32 and int8"
    )
    parser = argparse.ArgumentParser(
        prog=f"python -m export{only.suffix if only else ''}",
        description=f"Turn a trained model into {made}. Each is run in the engine that the device "
        "has, compared with the model on the test images, and written only if it answers alike.",
        epilog="Exit status: 0 written, 2 bad input, 3 an artifact that answers otherwise.",
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("models/digits.keras"),
        metavar="PATH",
        help="the model that train wrote (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="the data it was trained on; without it they are found as python -m train finds them",
    )
    parser.add_argument(
        "--calibration",
        type=int,
        metavar="N",
        help=f"training images from which int8's ranges are read (default: {DEFAULT_CALIBRATION})",
    )
    parser.add_argument(
        "--seed",
        type=whole(0),
        metavar="N",
        help="draws the calibration images (default: 0)",
    )
    if only:
        parser.add_argument("--quantize", action="store_true", help="int8 instead of float32")
        parser.add_argument(
            "--out",
            type=Path,
            metavar="PATH",
            help=f"the file to write (default: beside the model, digits{only.suffix} or "
            f"digits-int8{only.suffix})",
        )
    arguments = parser.parse_args(argv)
    if only:
        for option in ("calibration", "seed"):
            if getattr(arguments, option) is not None and not arguments.quantize:
                raise EdgeError(f"--{option} chooses images to quantize with: give --quantize too")
        arguments.precisions = (arguments.quantize,)
        if arguments.out and arguments.out.suffix != only.suffix:
            parser.error(f"--out must end in {only.suffix}")
    else:
        arguments.precisions, arguments.out = (False, True), None
    if arguments.calibration is None:
        arguments.calibration = DEFAULT_CALIBRATION
    if arguments.seed is None:
        arguments.seed = 0
    return arguments
