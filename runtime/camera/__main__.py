"""python -m runtime.camera: which digits a camera, a stream, a video or a folder shows."""

import argparse
import sys

from runtime.camera.debounce import Debouncer
from runtime.camera.preview import open_preview
from runtime.camera.run import watch
from runtime.camera.sources import open_source
from runtime.cli import options
from runtime.cli.exit_status import exit_status
from runtime.outputs import sinks
from runtime.preprocess.segment import Box
from runtime.reload import ReloadingClassifier
from runtime.serve.access_options import (
    TOKEN_VARIABLE,
    AccessOptions,
    access_options,
    add_access_arguments,
)
from runtime.system.service import ServiceLifecycle


def main(argv: list[str] | None = None) -> int:
    """Read until the source ends or SIGTERM comes, which is 0, or Ctrl-C, 130."""
    arguments = parse_args(argv)
    source = open_source(arguments.source)
    reader = ReloadingClassifier(
        arguments.model,
        backend=arguments.backend,
        threads=arguments.threads,
        device=arguments.device,
    )
    debouncer = Debouncer(*arguments.agree)
    preview = None
    if arguments.preview is not None:
        preview = open_preview(arguments.preview, arguments.access)
    if preview is not None and preview.url:
        print(f"preview at {preview.url}", file=sys.stderr)
    try:
        with ServiceLifecycle() as lifecycle, sinks.open_sinks(arguments) as out:
            lifecycle.ready(f"reading {source.name}")
            watch(source, arguments.roi, reader, debouncer, out, preview, lifecycle)
    finally:
        if preview is not None:
            preview.close()
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime.camera",
        description="Say which digits a camera sees: a JSON object each time one appears.",
        epilog="Exit status: 0 the source has ended or SIGTERM came, 2 it cannot be read, or a "
        "camera hangs.",
    )
    parser.add_argument(
        "--source",
        metavar="SOURCE",
        help="a camera's number, a URL (rtsp://, http://), a video file or a folder of images "
        "(default: the first camera, by picamera2 where that is installed, else by OpenCV)",
    )
    parser.add_argument(
        "--roi", type=_roi, metavar="X,Y,W,H", help="read this part of the picture only, in pixels"
    )
    parser.add_argument(
        "--agree",
        type=_agree,
        default=(4, 6),
        metavar="N/M",
        help="a digit has appeared when N of the last M pictures show it, and is gone when none "
        "of them does (default: 4/6)",
    )
    parser.add_argument(
        "--preview",
        nargs="?",
        const="window",
        metavar="[HOST]:PORT",
        help="show the pictures: in a window, or at a port for browsers (extra `serve`), of this "
        "machine alone unless HOST says otherwise",
    )
    access = parser.add_argument_group(
        "who may see --preview HOST:PORT",
        "On a network a viewer must know a token of at least 16 characters: name a file that holds "
        f"it, or set {TOKEN_VARIABLE}; open the page with #token=… behind its address.",
    )
    add_access_arguments(access)
    options.add_model_arguments(parser)
    sinks.add_arguments(parser)
    arguments = parser.parse_args(argv)
    arguments.access = access_options(parser, arguments)
    if arguments.preview in (None, "window") and arguments.access != AccessOptions():
        parser.error(
            "--token, --token-file, --no-auth and --allow-host go with --preview HOST:PORT"
        )
    return arguments


def _roi(text: str) -> Box:
    try:
        left, top, width, height = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y,W,H") from None
    if min(left, top) < 0 or min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} has nothing in it")
    return left, top, left + width, top + height


def _agree(text: str) -> tuple[int, int]:
    try:
        needed, of = map(int, text.split("/"))
        Debouncer(needed, of)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not N/M with N more than half of M, like 4/6"
        ) from None
    return needed, of


if __name__ == "__main__":
    sys.exit(exit_status(main))
