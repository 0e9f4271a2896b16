"""Command-line options of access control, for `serve` and the camera's preview.

Imports nothing of the extra `serve`, so that a command can parse its options without it.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import EdgeError

TOKEN_VARIABLE = "DIGIT_EDGE_TOKEN"
_MIN_TOKEN_CHARACTERS = 16


@dataclass(frozen=True)
class AccessOptions:
    """Who may send requests, as named on the command line.

    Attributes:
        token: the token itself.
        token_file: a file that contains it.
        no_auth: whether everybody on the network may send requests, without a token.
        allow_hosts: names of this machine besides its own.
    """

    token: str | None = None
    token_file: Path | None = None
    no_auth: bool = False
    allow_hosts: tuple[str, ...] = ()


def add_access_arguments(group: argparse._ArgumentGroup) -> None:
    """Add --token-file, --token, --no-auth and --allow-host."""
    group.add_argument("--token-file", type=Path, metavar="FILE", help="holds the token")
    group.add_argument("--token", help="the token itself, which other users then see in `ps`")
    group.add_argument(
        "--no-auth", action="store_true", help="let everybody on the network ask, without a token"
    )
    group.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which this machine is called, besides its own; may be repeated",
    )


def access_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> AccessOptions:
    """Return the options; end with a usage error if they contradict each other."""
    if arguments.no_auth and (arguments.token or arguments.token_file):
        parser.error("--no-auth takes no token")
    return AccessOptions(
        arguments.token, arguments.token_file, arguments.no_auth, tuple(arguments.allow_host)
    )


def find_token(options: AccessOptions) -> str | None:
    """Return the token of the option, the file or the environment; None if there is none.

    Raises:
        EdgeError: the file cannot be read, or the token is too short or contains spaces or
            characters that are not ASCII.
    """
    token, source = options.token, "--token"
    if options.no_auth:
        return None
    if options.token_file is not None:
        source = str(options.token_file)
        try:
            token = options.token_file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise EdgeError(f"cannot read the token in {source}: {error}") from error
    elif token is None:
        token, source = os.environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE
    if token is None:
        return None
    short = len(token) < _MIN_TOKEN_CHARACTERS
    if short or not (token.isascii() and token.isprintable()) or " " in token:
        raise EdgeError(
            f"the token of {source} is no {_MIN_TOKEN_CHARACTERS} characters of ASCII without "
            "spaces: make one with python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token
