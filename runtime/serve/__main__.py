"""Serve a page to draw digits on, and an HTTP API.

The command is `digit-edge serve`. This module parses the options; `runtime.serve.run` serves.
"""

import argparse
import math
import sys

from runtime.cli.exit_status import exit_status
from runtime.cli.model_note import report_unused_model
from runtime.cli.options import add_model_arguments
from runtime.cli.parser import CommandParser
from runtime.errors import EdgeError
from runtime.numbers import options as number_options
from runtime.numbers.options import NumberOptions
from runtime.serve.access_options import TOKEN_VARIABLE, access_options, add_access_arguments
from runtime.serve.addresses import parse_port

_MAX_COLLECTED_MIB = 100  # default of --max-collected; room for 25,000 drawings

# The end of the text of --help.
_NOTES = f"""\
Open the printed address in a browser. Draw with mouse, finger, pen or keyboard, drop or paste a
photograph, or use the camera.

Programs call the API: curl -F image=@photo.jpg http://127.0.0.1:8080/v1/classify (or /v1/read for
the digits of a page, /v1/numbers for the checked number of each region). Clients of the Open
Inference Protocol, such as tritonclient, use /v2.
/openapi.json describes the API, /metrics is for Prometheus, /healthz is the health check.

If other machines can connect (--host 0.0.0.0), every client needs a token of at least 16
characters: pass --token-file, or set {TOKEN_VARIABLE}. To open the page with the token, append
#token=… to its address. Browsers allow the live camera on localhost and over HTTPS only
(--certificate).

Requests in flight when the server ends get 5 s."""


def main(argv: list[str] | None = None) -> int:
    """Serve until a signal ends the process; return the exit status 0 after SIGTERM."""
    arguments = parse_args(argv)
    try:
        from runtime.serve.collection import Collection
        from runtime.serve.limits import Limits
        from runtime.serve.run import serve
        from runtime.serve.service import Certificate
        from runtime.serve.wire import ModelOptions
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise EdgeError(f'{package} is not installed: pip install "digit-edge[serve]"') from None
    limits = Limits(
        body_bytes=arguments.max_body << 20,  # MiB to bytes
        # Room for two of the largest bodies, and at least 32 MiB.
        memory_bytes=max(2 * arguments.max_body, 32) << 20,
        pixels=arguments.max_pixels * 1_000_000,
        seconds=arguments.timeout,
    )
    certificate = None
    if arguments.certificate is not None:
        certificate = Certificate(arguments.certificate, arguments.key)
    report_unused_model(arguments.model, arguments.backend)
    model = ModelOptions(arguments.model, arguments.backend, arguments.threads, arguments.device)
    collection = None
    if arguments.collect is not None:
        collection = Collection(arguments.collect, arguments.max_collected << 20)
    numbers: NumberOptions | None = arguments.numbers
    with (numbers or NumberOptions()).locked():
        serve(
            model,
            arguments.host,
            arguments.port,
            limits,
            arguments.access,
            certificate,
            collection,
            numbers,
        )
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; end with a usage error if options contradict each other."""
    parser = CommandParser(
        "digit-edge serve",
        "Serve a page to draw digits on and an HTTP API; an artifact classifies.",
        {0: "ended by SIGTERM"},
        _NOTES,
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="HOST",
        help="address to listen on (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8080,
        metavar="PORT",
        help="port to listen on (default: %(default)s); 0 chooses a free port",
    )
    model = parser.add_argument_group("model (the server reloads a replaced file automatically)")
    add_model_arguments(model)
    access = parser.add_argument_group("access control")
    add_access_arguments(access)
    access.add_argument("--certificate", metavar="FILE", help="serve HTTPS with this PEM file")
    access.add_argument(
        "--key", metavar="FILE", help="the private key, if the certificate file has none"
    )
    parser.add_argument(
        "--collect",
        metavar="FOLDER",
        help="keep each picture whose label a user of the page confirms or corrects, in one "
        "subfolder of FOLDER for each label, as digit-edge train reads them (default: keep none)",
    )
    number_options.add_arguments(
        parser, "the page reads numbers at first, and /v1/numbers uses the following options"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-collected",
        type=_positive,
        metavar="N",
        help=f"largest size of the folder of --collect, in MiB (default: {_MAX_COLLECTED_MIB})",
    )
    limits.add_argument(
        "--max-body",
        type=_positive,
        default=16,
        metavar="N",
        help="largest request body, in MiB (default: %(default)s)",
    )
    limits.add_argument(
        "--max-pixels",
        type=_positive,
        default=24,
        metavar="N",
        help="largest image, in megapixels (default: %(default)s)",
    )
    limits.add_argument(
        "--timeout",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="time limit for each phase of a request: to arrive, to wait in the queue, and to be "
        "processed (default: 30)",
    )
    arguments = parser.parse_args(argv)
    if arguments.key is not None and arguments.certificate is None:
        parser.error("--key needs --certificate")
    if arguments.max_collected is None:
        arguments.max_collected = _MAX_COLLECTED_MIB
    elif arguments.collect is None:
        parser.error("--max-collected needs --collect")
    arguments.access = access_options(parser, arguments)
    arguments.numbers = number_options.parse(parser, arguments, "serve")
    return arguments


def _port(text: str) -> int:
    port = parse_port(text)
    if port is None:
        raise argparse.ArgumentTypeError(f"invalid port {text!r}: pass 0 to 65535")
    return port


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0.1 and 3600")
    return seconds


if __name__ == "__main__":
    sys.exit(exit_status(main))
