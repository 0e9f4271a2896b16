"""Measures accuracy on photographs: python -m benchmarks.photos --data FOLDER."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import output_dir
from benchmarks.photos.run import measure
from runtime.classifier import Classifier
from runtime.cli.exit_status import exit_status
from runtime.errors import printable


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    arguments = parse_args(argv)
    from benchmarks.photos import report as view
    from benchmarks.report import html_templates, terminal
    from runtime.classifier import find_model

    output_dir.check_folder(arguments.out)
    html_templates.environment()  # fails here, not after minutes, if jinja2 is missing
    path = arguments.model or find_model(arguments.backend)
    report = measure(
        arguments.data,
        Classifier.load(path, backend=arguments.backend),
        Path(path).name,
        speed=not arguments.no_speed,
        progress=terminal.show_progress,
    )
    terminal.clear()
    view.print_report(report)
    written = view.write(report, arguments.out, arguments.data if arguments.pictures else None)
    print(f"written: {printable(str(arguments.out))}: {', '.join(written)}")
    return 0


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.photos",
        description="Read real photographs, scans and drawings, and time the way from bytes to a "
        "label.",
        epilog="Exit status: 0 measured, 2 bad input. Targets are reported and decide nothing.",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="images and their manifest.csv"
    )
    parser.add_argument("--model", metavar="PATH", help="an artifact (default: the published one)")
    parser.add_argument("--backend", help="the engine (default: the first that reads the model)")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results"), help="folder of the report"
    )
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="show the images themselves in the sheet of mistakes, not only what the network saw",
    )
    parser.add_argument("--no-speed", action="store_true", help="leave out the timings")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
