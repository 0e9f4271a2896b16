"""The argument parser of every command: exit statuses in --help, --version, shell completion."""

import argparse
import os
from collections.abc import Mapping
from typing import Any

from runtime import __version__

# Every command can end with these; a command names those of its own beside them.
EXIT_STATUSES = {
    0: "done",
    2: "bad input or usage",
    130: "interrupted by Ctrl-C",
}
_COMPLETION = "_ARGCOMPLETE"  # the shell's completion sets this variable


class CommandParser(argparse.ArgumentParser):
    """Parse the arguments of one command.

    Args:
        command: the words that start it, as `digit-edge watch`.
        description: what it does, for --help.
        exit_statuses: exit statuses and their meanings, in addition to EXIT_STATUSES or in place of
            one of them.
        notes: further text at the end of --help.
    """

    def __init__(
        self,
        command: str,
        description: str,
        exit_statuses: Mapping[int, str] | None = None,
        notes: str = "",
    ) -> None:
        meanings = EXIT_STATUSES | dict(exit_statuses or {})
        listed = ", ".join(f"{status} {meanings[status]}" for status in sorted(meanings))
        super().__init__(
            prog=command,
            description=description,
            epilog=f"{notes} Exit status: {listed}.".strip(),
        )
        self.add_argument("--version", action="version", version=f"digit-edge {__version__}")

    def add_alias(self, alias: str, dest: str, **settings: Any) -> None:
        """Accept a former name of the option stored in `dest`, without listing it in --help."""
        hidden = argparse.SUPPRESS
        self.add_argument(alias, dest=dest, default=hidden, help=hidden, **settings)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the arguments; in the shell's completion, print the possible words and end."""
        if _COMPLETION in os.environ:
            import argcomplete

            argcomplete.autocomplete(self)
        return super().parse_args(args, namespace)
