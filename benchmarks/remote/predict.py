"""Save the scores of each artifact for given images.

Runs on a device, which has neither Keras nor a data set. `benchmarks.parity` compares the scores
with those of the reference on the machine that `client` runs on.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import cases, output_dir, subprocesses
from benchmarks.harness.cases import FAILED, BenchmarkCase, SkippedCase
from benchmarks.harness.messages import PredictRequest
from benchmarks.harness.serialize import from_json, to_json
from benchmarks.schema.remote import CasePredictions, DevicePredictions, PredictionIndex
from runtime.cli import options
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import ArtifactError, EdgeError
from runtime.model import artifact
from runtime.system import atomic_write

INDEX = "answers.json"  # the file that lists the cases; the scores are in .npy files beside it


def write(
    models: Path,
    pixels: Path,
    out: Path,
    planned: Sequence[BenchmarkCase],
    progress: Callable[[str], None] = lambda line: None,
) -> PredictionIndex:
    """Run each case in a subprocess; write the index and the scores into `out`.

    Args:
        models: the folder of the artifacts.
        pixels: path of a .npy file, (N, 28, 28, 1) uint8.
        out: the folder to write to.
        planned: the cases.
        progress: called with one line for each case.

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
        response = subprocesses.request_predictions(
            PredictRequest(case, str(path.resolve()), str(pixels.resolve()), str(file.resolve()))
        )
        if isinstance(response, SkippedCase):
            skipped.append(response)
        else:
            answered.append(CasePredictions(case, response, file.name))
    index = PredictionIndex(tuple(answered), tuple(skipped))
    atomic_write.write(out / INDEX, to_json(index))
    return index


def read(folder: Path, name: str) -> DevicePredictions:
    """Read the files of `write`.

    Args:
        folder: the folder that `write` wrote to.
        name: the name of the files in error messages.

    Raises:
        EdgeError: a file is missing or damaged.
    """
    try:
        index = from_json(PredictionIndex, (folder / INDEX).read_bytes(), name)
        return DevicePredictions(
            tuple(
                (entry.case, entry.answer, np.load(folder / Path(entry.scores).name))
                for entry in index.answered
            ),
            index.skipped,
        )
    except (OSError, ValueError) as error:
        raise EdgeError(f"{name} cannot be read ({error}): measure again") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 even if cases fail, which the index records.

    Raises:
        EdgeError: the images are missing, or the results cannot be written.
    """
    parser = CommandParser(
        "python -m benchmarks.remote.predict",
        "Save the scores of each artifact of a folder for given images.",
        {0: f"saved; {INDEX} names the cases that failed"},
    )
    cases.add_models_argument(parser)
    options.add_backends_argument(parser)
    parser.add_argument(
        "--pixels",
        type=Path,
        required=True,
        metavar="FILE",
        help=".npy file of images, (N, 28, 28, 1) uint8",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder to write the scores to"
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "gpu"),
        default="cpu",
        metavar="NAME",
        help="cpu, or gpu for every accelerator of each engine (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    from benchmarks.report import terminal

    if not arguments.pixels.exists():
        raise EdgeError(f"{arguments.pixels} does not exist: name the images with --pixels")
    output_dir.check_folder(arguments.out)
    arguments.out.mkdir(parents=True, exist_ok=True)
    planned = cases.enumerate_cases(arguments.models, tuple(arguments.backend), arguments.device)
    write(arguments.models, arguments.pixels, arguments.out, planned, terminal.show_progress)
    terminal.clear()
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
