"""Open the artifacts in seven engines from PyPI.

`digit-edge benchmark-portability` runs this command.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import output_dir
from benchmarks.harness.test_set import load_test_set
from benchmarks.portability.run import measure, table
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import EdgeError
from runtime.model.default_model import PRETRAINED
from runtime.system import atomic_write

ENVIRONMENTS = Path(".venv-portability")  # folder of the engines' environments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; an engine that does not run an artifact is a result, not a failure."""
    arguments = parse_args(argv)
    from benchmarks.report import markdown, terminal

    artifacts = sorted(
        path for path in arguments.models.glob("*") if path.suffix in (".tflite", ".onnx")
    )
    if not artifacts:
        raise EdgeError(f"{arguments.models} has no .tflite or .onnx artifact: pass --model FOLDER")
    if arguments.out is not None:
        output_dir.check_file(arguments.out)
    test_set = load_test_set("embedded")
    results = measure(
        artifacts, test_set.pixels, arguments.environments, progress=terminal.show_progress
    )
    terminal.clear()
    made = table(results, f"the {len(test_set.labels)} test images of {test_set.name}")
    terminal.print_tables([made])
    if arguments.out is not None:
        text = markdown.render_table(made).removeprefix("#")
        atomic_write.write(arguments.out, f"{text}\n\n`make portability` writes this page.\n")
    return 0


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's options; None stands for the arguments of this process."""
    parser = CommandParser(
        "digit-edge benchmark-portability",
        "Open each artifact in LiteRT, tflite-runtime, onnxruntime, OpenVINO, MNN, tract and TFLM, "
        "each installed from PyPI into an environment of its own, and compare the scores.",
        {0: "measured"},
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=PRETRAINED,
        dest="models",
        metavar="PATH",
        help="a folder of artifacts (default: the published ones)",
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=ENVIRONMENTS,
        metavar="FOLDER",
        help="the folder of the environments; 2 GB (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the table to this Markdown file"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
