"""The argument parser of every command: exit statuses in --help, --version, shell completion."""

import argparse
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from runtime import __version__
from runtime.errors import BAD_INPUT, EdgeError, report

# Every command can end with these; a command names those of its own beside them.
EXIT_STATUSES = {
    0: "done",
    2: "bad input or usage",
    130: "interrupted by Ctrl-C",
}
_COMPLETION = "_ARGCOMPLETE"  # the shell's completion sets this environment variable


class _ParagraphFormatter(argparse.HelpFormatter):
    """Wrap each paragraph by itself, and no word at a hyphen: `--token-file` stays whole."""

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
        # The public way, a second argument with a hidden help text, would leave the option missing
        # if it is required and the user passes the alias.
        self._option_string_actions[alias] = self._option_string_actions[option]
        self._aliases.add(alias)

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        # The options that an abbreviation can mean. `--mod` is not ambiguous because the former
        # name of `--model` was `--models`.
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
