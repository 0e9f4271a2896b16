"""What each artifact of a folder answers: python -m benchmarks.remote.predict.

Runs on a device, where there is neither Keras nor a data set; `parity` compares the scores with the
reference's where those are.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import cases, output_dir, subprocesses
from benchmarks.harness.cases import FAILED, BenchmarkCase, SkippedCase
from benchmarks.harness.messages import PredictRequest
from benchmarks.harness.serialize import from_json, to_json
from benchmarks.schema.remote import CasePredictions, DevicePredictions, PredictionIndex
from runtime.cli.exit_status import exit_status
from runtime.errors import ArtifactError, EdgeError
from runtime.model import artifact
from runtime.system import atomic_write

INDEX = "answers.json"


def write(
    models: Path,
    pixels: Path,
    out: Path,
    planned: Sequence[BenchmarkCase],
    progress: Callable[[str], None] = lambda line: None,
) -> PredictionIndex:
    """Run each case in a separate process; write the index and the scores into `out`.

    Args:
        pixels: a .npy file of (N, 28, 28, 1) uint8.

    Raises:
        EdgeError: the files cannot be written.
    """
    answered: list[CasePredictions] = []
    skipped: list[SkippedCase] = []
    for number, case in enumerate(planned):
        progress(str(case))
        path, file = models / case.artifact, out / f"{number}.npy"
        try:
            artifact.read(path)
        except ArtifactError as error:
            skipped.append(SkippedCase(case, FAILED, str(error)))
            continue
        answer = subprocesses.request_predictions(
            PredictRequest(case, str(path.resolve()), str(pixels.resolve()), str(file.resolve()))
        )
        if isinstance(answer, SkippedCase):
            skipped.append(answer)
        else:
            answered.append(CasePredictions(case, answer, file.name))
    index = PredictionIndex(tuple(answered), tuple(skipped))
    atomic_write.write(out / INDEX, to_json(index))
    return index


def read(folder: Path, name: str) -> DevicePredictions:
    """Read what `write` wrote; `name` is what messages call it.

    Raises:
        EdgeError: the folder holds no such thing.
    """
    try:
        index = from_json(PredictionIndex, (folder / INDEX).read_bytes(), name)
        return DevicePredictions(
            tuple(
                (one.case, one.answer, np.load(folder / Path(one.scores).name))
                for one in index.answered
            ),
            index.skipped,
        )
    except (OSError, ValueError) as error:
        raise EdgeError(f"{name} cannot be read ({error}): measure again") from error


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 also where rows fail, for the index says so."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.remote.predict", description=__doc__
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of the artifacts")
    parser.add_argument("--pixels", type=Path, required=True, help=".npy, (N, 28, 28, 1) uint8")
    parser.add_argument("--out", type=Path, required=True, help="folder of the scores")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument(
        "--backend", action="append", default=[], help="only this engine; may be repeated"
    )
    arguments = parser.parse_args(argv)
    from benchmarks.report import terminal

    if not arguments.pixels.exists():
        raise EdgeError(f"there is no {arguments.pixels}: name the images with --pixels")
    output_dir.check_folder(arguments.out)
    arguments.out.mkdir(parents=True, exist_ok=True)
    planned = cases.enumerate_cases(arguments.models, tuple(arguments.backend), arguments.device)
    write(arguments.models, arguments.pixels, arguments.out, planned, terminal.show_progress)
    terminal.clear()
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
