"""Command-line options of all commands that classify: --model, --backend, --device, --threads."""

import argparse

from runtime.engines import ENGINES


def add_model_arguments(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Add the options --model, --backend, --device and --threads to a parser or group."""
    parser.add_argument(
        "--model",
        metavar="PATH",
        help="a .tflite or .onnx artifact (default: the published one, then one in models/)",
    )
    parser.add_argument(
        "--backend",
        choices=[row.name for row in ENGINES],
        help="the engine (default: the first installed one that opens the model)",
    )
    parser.add_argument(
        "--device", choices=("cpu", "gpu"), default="cpu", help="runs the model (default: cpu)"
    )
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help="threads of the engine (default: 1)"
    )
