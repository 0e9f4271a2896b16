"""Export a trained model as TFLite and ONNX, float and int8.

The command is `digit-edge export`. `export.cli` parses the options and runs the exports.
"""

import sys

from export import onnx, tflite
from export.cli import run
from runtime.cli.exit_status import exit_status


def main(argv: list[str] | None = None) -> int:
    """Run `digit-edge export` and return its exit status."""
    return run([tflite.TARGET, onnx.TARGET], argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
