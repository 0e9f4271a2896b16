"""CommandParser: the form of --help, former options, usage errors."""

import pytest

from runtime.cli.parser import CommandParser

pytestmark = pytest.mark.portable


@pytest.fixture
def parser() -> CommandParser:
    """A parser of a command with a required option that has a former name."""
    parser = CommandParser(
        "digit-edge wave",
        "Wave a flag.",
        {0: "waved", 3: "no wind"},
        "The first paragraph with --long-option.\n\nThe second one.",
    )
    parser.add_argument("--flag", required=True, metavar="NAME", help="the flag")
    parser.add_alias("--banner", "--flag")
    return parser


def test_help_ends_with_the_exit_statuses_in_a_paragraph_of_their_own(parser):
    assert parser.format_help().endswith(
        "\n\nThe first paragraph with --long-option.\n\nThe second one.\n\n"
        "Exit status: 0 waved, 2 bad input or usage, 3 no wind, 130 interrupted by\nCtrl-C.\n"
    )


def test_long_option_in_a_text_is_not_broken_at_a_hyphen(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = "With many words before it: --long-option-name."
    parser = CommandParser("digit-edge wave", "Wave.", notes=text)
    parser.add_argument("--pole", action="store_true", help=text)
    assert parser.format_help().count("--long-option-name") == 2


@pytest.mark.parametrize("option", ["--flag", "--banner"])
def test_former_name_satisfies_a_required_option(parser, option):
    assert parser.parse_args([option, "red"]).flag == "red"


@pytest.mark.parametrize("abbreviation", ["--fl", "--ban"])
def test_option_and_its_former_name_can_be_abbreviated(parser, abbreviation):
    assert parser.parse_args([abbreviation, "red"]).flag == "red"


def test_former_name_that_begins_like_the_option_makes_no_abbreviation_ambiguous(parser):
    parser.add_alias("--flags", "--flag")
    assert parser.parse_args(["--fl", "red"]).flag == "red"


def test_former_name_is_not_listed(parser):
    assert "--banner" not in parser.format_help()


def test_usage_error_is_the_usage_and_one_line(parser, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--flag", "red", "a\nb\x1b[2J"])
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "usage: digit-edge wave [-h] [--version] --flag NAME\n"
        "error: unrecognized arguments: a b\\x1b[2J\n"
    )


def test_subcommand_has_the_exit_statuses_and_the_version(parser, capsys):
    actions = parser.add_subparsers(metavar="ACTION", help="what to do")
    actions.add_parser("up", description="Raise the flag.")
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--flag", "red", "up", "--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("digit-edge ")
