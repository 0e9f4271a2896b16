"""The argument parser of every command.

It lists the exit statuses in --help, and adds --version and shell completion.
"""

import argparse
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from runtime import __version__
from runtime.errors import BAD_INPUT, EdgeError, report

# Exit status → meaning. Every command can end with these; a command adds its own by the argument
# `exit_statuses`.
EXIT_STATUSES = {
    0: "done",
    2: "bad input or usage",
    130: "interrupted by Ctrl-C",
}
_COMPLETION = "_ARGCOMPLETE"  # the shell's completion sets this environment variable


class _ParagraphFormatter(argparse.HelpFormatter):
    """Wrap each paragraph separately. Words are not broken at hyphens, such as `--token-file`."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = (self._split_lines(paragraph, width) for paragraph in text.split("\n\n"))
        return "\n\n".join(textwrap.indent("\n".join(lines), indent) for lines in paragraphs)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class CommandParser(argparse.ArgumentParser):
    """Parse the arguments of one command.

    Args:
        prog: the words that start the command, such as `digit-edge watch`.
        description: what it does, for --help.
        exit_statuses: exit statuses and their meanings, in addition to EXIT_STATUSES or in place of
            one of them.
        notes: paragraphs at the end of --help, separated by blank lines.
    """

    def __init__(
        self,
        prog: str,
        description: str,
        exit_statuses: Mapping[int, str] | None = None,
        notes: str = "",
    ) -> None:
        meanings = EXIT_STATUSES | dict(exit_statuses or {})
        listed = ", ".join(f"{status} {meanings[status]}" for status in sorted(meanings))
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"{notes}\n\nExit status: {listed}.".strip(),
            formatter_class=_ParagraphFormatter,
        )
        self._aliases: set[str] = set()
        self.add_argument(
            "--version",
            action="version",
            version=f"digit-edge {__version__}",
            help="show the version of digit-edge and exit",
        )

    def add_alias(self, alias: str, option: str) -> None:
        """Accept a former name of an option, without listing it in --help."""
        # A second argument with a hidden help text would not do: for a required option, argparse
        # reports it as missing although the user passed the alias.
        self._option_string_actions[alias] = self._option_string_actions[option]
        self._aliases.add(alias)

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        # Return the options that an abbreviation can mean. Former names do not count: `--mod` means
        # `--model`, although `--models` is accepted too.
        matches = super()._get_option_tuples(option_string)
        return [match for match in matches if match[1] not in self._aliases] or matches

    def parse_args(  # type: ignore[override]  # the parent's overloads are for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Return the arguments; in the shell's completion, print the possible words and end.

        Raises:
            EdgeError: the shell asks for completions, and argcomplete is not installed.
        """
        if _COMPLETION in os.environ:
            try:
                import argcomplete
            except ModuleNotFoundError as error:
                hint = 'pip install "digit-edge[completion]"'
                raise EdgeError(f"argcomplete is not installed: {hint}") from error
            argcomplete.autocomplete(self)
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, with control characters escaped; exit with status 2."""
        self.print_usage(sys.stderr)
        report(EdgeError(message))
        sys.exit(BAD_INPUT)
