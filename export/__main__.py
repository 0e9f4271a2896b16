"""python -m export: .keras → .tflite and .onnx, each float32 and int8."""

import sys

from export import onnx, tflite
from export.cli import run
from runtime.cli.exit_status import exit_status


def main(argv: list[str] | None = None) -> int:
    """The command `python -m export`."""
    return run([tflite.TARGET, onnx.TARGET], argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
