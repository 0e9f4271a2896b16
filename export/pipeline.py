"""What the export commands share: their options, and the way from a Keras model to artefacts."""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from export.verify import Signature, Verification, verify
from runtime.backends import Backend, open_backend
from runtime.errors import CHECK_FAILED, DatasetError, EdgeError, ParityError, report
from runtime.model import artifact
from runtime.model.artifact import Artefact
from runtime.model.spec import Affine, Golden, Metrics, Quantization
from runtime.system import interrupt
from train.options import whole

if TYPE_CHECKING:
    from export.calibration import Calibration
    from export.keras_model import Source
    from train.data.splits import DataSet, Split

DEFAULT_CALIBRATION = 500  # training images


class Target(NamedTuple):
    """A format to export to, and the functions that know it."""

    name: str
    suffix: str
    convert: "Callable[[Source, Calibration | None], bytes]"
    describe: Callable[[bytes], Signature]
    quantization: Callable[[bytes], tuple[Affine, Affine | None] | None]


def export(
    source: "Source",
    target: Target,
    data: "DataSet",
    out: Path,
    calibration: "Calibration | None" = None,
    on_verified: Callable[[Verification], None] = lambda _: None,
) -> Artefact:
    """Convert, run against the Keras model through the engine of the device, and keep if it passes.

    Args:
        out: the file to write; what was there stays if the new artefact fails.
        calibration: images to quantise with; without them the artefact is float32.
        on_verified: told the outcome of every check, before a failure is raised.

    Raises:
        ParityError: the artefact does not answer as the Keras model does; nothing is written.
        ArtefactError: a converter or the engine refuses the model.
        EdgeError: `out` cannot be written.
    """
    with interrupt.deferred():  # converters call back from C++, where an exception can be lost
        model = target.convert(source, calibration)
    affine = target.quantization(model)
    if (affine is None) != (calibration is None):
        raise ParityError(f"{out} is not written: {target.name}'s converter ignored the precision")
    spec = dataclasses.replace(
        source.artefact.spec,
        precision="float32" if affine is None else "int8",
        quantization=affine and Quantization(*affine, calibration.dataset, calibration.counts),
        source_sha256=source.artefact.spec.digest,
        golden=None,
    )
    candidate = open_backend(Artefact(out, model, spec))
    outcome = verify(
        target.describe(model),
        candidate.scores,
        source.scores(data.test.pixels),
        data.test,
        spec.input_shape,
        spec.precision,
    )
    on_verified(outcome)
    outcome.raise_if_failed(out)
    known = source.artefact.spec.golden
    spec = dataclasses.replace(
        spec,
        metrics=Metrics(
            train_accuracy=_accuracy(candidate, data.train),
            n_train=len(data.train),
            test_accuracy=_accuracy(candidate, data.test),
            n_test=len(data.test),
        ),
        golden=known and Golden(known.pixels, candidate.scores(known.pixels)),
    )
    return artifact.write(out, model, spec)


def run(targets: Sequence[Target], argv: list[str] | None) -> int:
    """The body of `python -m export`, `export.tflite` and `export.onnx`."""
    arguments = _parse(targets, argv)
    from export import calibration
    from export.keras_model import open_source
    from train.data import load as datasets

    source = open_source(arguments.model)
    data = datasets.load(arguments.data)
    trained_on = source.artefact.spec.dataset
    if data.sha256 != trained_on.sha256:
        raise DatasetError(
            f"{arguments.model} was trained on {trained_on.name}, this data is {data.name}: "
            "give the same with --data"
        )
    samples = calibration.choose(data, arguments.calibration, arguments.seed)
    failed = 0
    for target in targets:
        for quantize in arguments.precisions:
            interrupt.check()
            out = arguments.out or _default_out(arguments.model, target, quantize)
            print(out)
            try:
                made = export(
                    source, target, data, out, samples if quantize else None, _print_checks
                )
            except ParityError as error:
                report(error)
                failed += 1
            else:
                print(f"    {len(made.data) / 1000:,.0f} KB, digest {made.spec.digest[:12]}…")
    return CHECK_FAILED if failed else 0


def _accuracy(backend: Backend, split: "Split") -> float:
    return float(np.mean(backend.scores(split.pixels).argmax(axis=1) == split.labels))


def _print_checks(outcome: Verification) -> None:
    for check in outcome.checks:
        print(check)
    sys.stdout.flush()


def _default_out(model: Path, target: Target, quantize: bool) -> Path:
    return model.with_name(model.stem + ("-int8" if quantize else "") + target.suffix)


def _parse(targets: Sequence[Target], argv: list[str] | None) -> argparse.Namespace:
    only = targets[0] if len(targets) == 1 else None
    made = (
        f"a {only.suffix} artefact, float32 or int8"
        if only
        else f"{' and '.join(target.suffix for target in targets)} artefacts, each float32 and int8"
    )
    parser = argparse.ArgumentParser(
        prog=f"python -m export{only.suffix if only else ''}",
        description=f"Turn a trained model into {made}. Each is run in the engine that the device "
        "has, compared with the model on the test images, and written only if it answers alike.",
        epilog="Exit status: 0 written, 2 bad input, 3 an artefact that answers otherwise.",
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
