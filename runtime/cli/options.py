"""Command-line options of all commands that classify: --model, --backend, --device, --threads."""

import argparse

from runtime.engines import NAMES, engine_name

_NAMES = f"{', '.join(NAMES[:-1])} or {NAMES[-1]}"


def add_model_arguments(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Add the options --model, --backend, --device and --threads to a parser or group."""
    parser.add_argument(
        "--model",
        metavar="PATH",
        help="a .tflite or .onnx artifact (default: the published one, then one in models/)",
    )
    add_backend_argument(parser)
    parser.add_argument(
        "--device",
        choices=("cpu", "gpu"),
        default="cpu",
        metavar="NAME",
        help="the processor that runs the model: cpu or gpu (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="threads of the engine (default: %(default)s)",
    )


def add_backend_argument(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Add the option --backend, the name of one engine; its extra's name is accepted too."""
    parser.add_argument(
        "--backend",
        type=engine_name,
        choices=NAMES,
        metavar="NAME",
        help=f"the engine: {_NAMES} (default: the first installed one that opens the model)",
    )


def add_backends_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option --backend, which may be repeated; its value is a list of engine names."""
    parser.add_argument(
        "--backend",
        action="append",
        default=[],
        type=engine_name,
        choices=NAMES,
        metavar="NAME",
        help=f"use only this engine: {_NAMES}; may be repeated (default: all)",
    )
