"""Command-line options of access control, for `digit-edge serve` and the preview of the camera.

This module imports no package of the extra `serve`, so that a command can parse its options even if
the extra is not installed.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from runtime.cli.secret_file import warn_if_readable
from runtime.errors import EdgeError

TOKEN_VARIABLE = "DIGIT_EDGE_TOKEN"  # environment variable with the token, if no option is passed
_MIN_TOKEN_CHARACTERS = 16  # length of a token; a shorter token raises EdgeError
# Quoted in messages about an invalid token.
_TOKEN_RULE = (
    f"a token has at least {_MIN_TOKEN_CHARACTERS} ASCII characters without spaces: make one with "
    "python -c 'import secrets; print(secrets.token_urlsafe())'"
)


@dataclass(frozen=True)
class AccessOptions:
    """The access options of a command line.

    Attributes:
        token: the token that clients must send; None if the option was not passed.
        token_file: a file that contains the token; the file takes precedence over `token`.
        no_auth: whether clients on the network need no token.
        allow_hosts: additional names of this machine that a request's Host header may contain.
    """

    token: str | None = None
    token_file: Path | None = None
    no_auth: bool = False
    allow_hosts: tuple[str, ...] = ()


def add_access_arguments(group: argparse._ArgumentGroup) -> None:
    """Add --token-file, --token, --no-auth and --allow-host to a group of a parser."""
    group.add_argument("--token-file", type=Path, metavar="FILE", help="read the token from FILE")
    group.add_argument(
        "--token",
        metavar="TOKEN",
        help="the token; other users of this machine can see it in `ps`",
    )
    group.add_argument(
        "--no-auth", action="store_true", help="allow everybody on the network, without a token"
    )
    group.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="accept requests to this host name too; may be repeated",
    )


def access_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> AccessOptions:
    """Return the access options of a parsed command line.

    Args:
        parser: ends the process with a usage error, status 2, if the options contradict each other.
        arguments: the command line, parsed with the options of `add_access_arguments`.
    """
    if arguments.no_auth and (arguments.token or arguments.token_file):
        parser.error("--no-auth cannot be combined with --token or --token-file")
    return AccessOptions(
        arguments.token, arguments.token_file, arguments.no_auth, tuple(arguments.allow_host)
    )


def find_token(options: AccessOptions) -> str | None:
    """Return the token: the first of --token-file, --token and $DIGIT_EDGE_TOKEN that is set.

    Returns:
        None if no token is set, or with --no-auth.

    Raises:
        EdgeError: the file cannot be read. Or the token has fewer than 16 characters, or contains
            spaces, unprintable characters or characters that are not ASCII.
    """
    token, source = options.token, "--token"
    if options.no_auth:
        return None
    if options.token_file is not None:
        source = str(options.token_file)
        try:
            token = options.token_file.read_text("ascii").strip()
            warn_if_readable(options.token_file)
        except OSError as error:
            raise EdgeError(
                f"cannot read the token in {source}: {error.strerror}; pass --token-file a text "
                "file that contains the token"
            ) from error
        except UnicodeDecodeError as error:
            raise EdgeError(f"{source}: {_TOKEN_RULE}") from error
    elif token is None:
        token, source = os.environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE
    if token is None:
        return None
    short = len(token) < _MIN_TOKEN_CHARACTERS
    if short or not (token.isascii() and token.isprintable()) or " " in token:
        raise EdgeError(f"{source}: {_TOKEN_RULE}")
    return token
