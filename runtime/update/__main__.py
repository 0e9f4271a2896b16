"""python -m runtime.update: puts a new model in the place of a running device's, or leaves it."""

import argparse
import sys
from pathlib import Path

from runtime.cli.exit_status import exit_status
from runtime.errors import EdgeError, printable
from runtime.update.run import rollback, update


def main(argv: list[str] | None = None) -> int:
    """Update a model; 0 when it is in its place, 3 when it was refused."""
    arguments = parse_args(argv)
    into = Path(arguments.into)
    if arguments.back:
        lines = rollback(into)
    else:
        keys = None if arguments.keys is None else Path(arguments.keys)
        lines = update(arguments.source, into, keys, arguments.allow_unsigned)
    print("\n".join(map(printable, lines)))
    return 0


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime.update",
        description="Put a new model in the place of the one in use, when its signature, its "
        "digest and its self-test are right. Running watch, camera and serve take it up by "
        "themselves; the model before is kept beside it.",
        epilog="Exit status: 0 done, 2 bad input, 3 refused: not trusted, or not right here.",
    )
    parser.add_argument("source", nargs="?", metavar="FILE|URL", help="the new model")
    parser.add_argument(
        "--into",
        default="models",
        metavar="PATH",
        help="the model in use, or a folder where the new one gets its own name, or with --back "
        "the one model that can (default: models)",
    )
    parser.add_argument(
        "--keys",
        metavar="DIR",
        help="trusted keys, *.pub of python -m runtime.signing (default: keys beside the model)",
    )
    parser.add_argument(
        "--allow-unsigned", action="store_true", help="take a model that has no signature"
    )
    parser.add_argument(
        "--back",
        "--rollback",
        action="store_true",
        help="return to the model that was there before",
    )
    arguments = parser.parse_args(argv)
    if arguments.back == (arguments.source is not None):
        parser.error("give the new model, or --back without one")
    if arguments.back and (arguments.keys is not None or arguments.allow_unsigned):
        raise EdgeError("--back checks no signature: leave out --keys and --allow-unsigned")
    return arguments


if __name__ == "__main__":
    sys.exit(exit_status(main))
