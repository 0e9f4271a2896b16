"""Replace the model of a running device with a signed one.

This module parses the arguments; `runtime.update.run` does the work.
"""

import argparse
import sys
from pathlib import Path

from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import EdgeError, printable
from runtime.update.run import rollback, update


def main(argv: list[str] | None = None) -> int:
    """Update or roll back a model, print the result and return 0.

    Args:
        argv: the arguments; None uses those of the process.

    Raises:
        EdgeError: the model was not replaced; `exit_code` is 3 if the model was rejected, else 2.
    """
    arguments = parse_args(argv)
    model = Path(arguments.model)
    if arguments.back:
        lines = rollback(model)
    else:
        keys = None if arguments.keys is None else Path(arguments.keys)
        lines = update(
            arguments.source, model, keys, arguments.allow_unsigned, arguments.allow_older
        )
    print("\n".join(map(printable, lines)))
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; end with a usage error if options contradict each other."""
    parser = CommandParser(
        "digit-edge update",
        "Replace the model in use, if the signature and the digest of the new model "
        "are valid and it passes its self-test. Running watch, camera and serve processes reload "
        "it automatically; the previous model is kept beside it.",
        {3: "the model is not trusted, is older or fails its self-test"},
    )
    parser.add_argument("source", nargs="?", metavar="FILE|URL", help="the new model")
    parser.add_argument(
        "--model",
        default="models",
        metavar="PATH",
        help="the model to replace, or a folder, in which the new model keeps its file name; with "
        "--back a folder must contain exactly one model with a previous one (default: %(default)s)",
    )
    parser.add_alias("--into", "--model")
    parser.add_argument(
        "--keys",
        metavar="FOLDER",
        help="folder of trusted keys, *.pub files of digit-edge sign (default: the "
        "folder keys beside the model)",
    )
    parser.add_argument(
        "--allow-unsigned", action="store_true", help="accept a model without a signature"
    )
    parser.add_argument(
        "--allow-older",
        action="store_true",
        help="accept a signed model with a lower version than one installed before",
    )
    parser.add_argument(
        "--back",
        "--rollback",
        action="store_true",
        help="swap the model with the previous one",
    )
    arguments = parser.parse_args(argv)
    if arguments.back == (arguments.source is not None):
        parser.error("pass either a new model or --back")
    if arguments.back and (
        arguments.keys is not None or arguments.allow_unsigned or arguments.allow_older
    ):
        raise EdgeError(
            "--back does not check signatures: remove --keys, --allow-unsigned and --allow-older"
        )
    return arguments


if __name__ == "__main__":
    sys.exit(exit_status(main))
