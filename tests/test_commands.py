"""Every command has the same form: its --help, its exit statuses, its option names, its errors."""

import argparse
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import __version__
from runtime.cli.parser import CommandParser

ROOT = Path(__file__).parents[1]
# Command → its module, from the entry points of pyproject.toml.
REGISTERED = {
    f"digit-edge {name}": module
    for name, module in re.findall(
        r'^([a-z-]+) = "digit_edge\.([a-z_.]+)"$', (ROOT / "pyproject.toml").read_text(), re.M
    )
}
# Commands of the checkout, which the wheel does not register.
OTHERS = {
    f"python -m {module}": module
    for module in (
        "benchmarks.boards",
        "benchmarks.latency.decode_only",
        "benchmarks.readme",
        "benchmarks.remote.predict",
        "benchmarks.web",
        "deploy.bundle",
        "deploy.emulation",
    )
}
COMMANDS = REGISTERED | OTHERS
SUBCOMMANDS = [("digit-edge sign", "key"), ("digit-edge sign", "sign")]
# --help must be fast, and work on a machine without them.
HEAVY = {
    "tensorflow",
    "keras",
    "onnx",
    "scipy",
    "sklearn",
    "matplotlib",
    "onnxruntime",
    "ai_edge_litert",
    "tflite_runtime",
}
METAVARS = {
    "PATH",  # a file or a folder
    "FILE",
    "FOLDER",
    "N",  # a whole number
    "X",  # a number
    "S",  # seconds
    "NAME",
    "HOST",
    "PORT",
    "URL",
    "TOKEN",
    "COMMAND",
    "HxW",  # height and width of an image in pixels
    "FILE.py:NAME",  # a function in a file
    "SOURCE",  # a camera, a URL, a file or a folder
    "USER@HOST",
    "[HOST]:PORT",
    "X,Y,W,H",
    "[NAME=]X,Y,W,H",
    "A,B,…",
    "N,N,…",
    "N/M",
    "I/N",
    "ADDRESS",
    "NAME=VALUE",
    "NAME=A,B,…",
    "NAME=PATH",
}
POSITIONALS = {
    "PATH",
    "FILE",
    "FOLDER",
    "NAME",
    "IMAGE",
    "KEY",
    "FILE|URL",
    "A.json",
    "B.json",
    "SOURCE",
}
# Module, former option → the option. Each command line with the former one stays valid.
ALIASES = {
    ("runtime.update", "--into"): "--model",
    ("benchmarks", "--models"): "--model",
    ("benchmarks.parity", "--models"): "--model",
    ("benchmarks.parity", "--json"): "--out",
    ("benchmarks.latency", "--models"): "--model",
    ("benchmarks.latency", "--json"): "--out",
    ("benchmarks.robustness", "--models"): "--model",
    ("benchmarks.rejection", "--models"): "--model",
    ("benchmarks.remote.predict", "--models"): "--model",
}
# Module → arguments that it requires besides those that a test passes.
REQUIRED = {
    "runtime.update": ["m.tflite"],
    "benchmarks.remote.predict": ["--pixels", "p.npy", "--out", "out"],
}


class Parsed(Exception):
    """Raised in place of running a command; holds its parser and the parsed arguments."""

    def __init__(self, parser: CommandParser, arguments: argparse.Namespace | None) -> None:
        super().__init__()
        self.parser = parser
        self.arguments = arguments


def parser_of(module: str, monkeypatch) -> CommandParser:
    """Return a command's parser."""
    return _stopped(module, [], monkeypatch, lambda parser, argv: Parsed(parser, None)).parser


def parse(module: str, argv: list[str], monkeypatch) -> argparse.Namespace:
    """Return the arguments that a command parses."""
    original = CommandParser.parse_args
    stop = _stopped(module, argv, monkeypatch, lambda p, argv: Parsed(p, original(p, argv)))
    assert stop.arguments is not None
    return stop.arguments


def _stopped(module, argv, monkeypatch, stop) -> Parsed:
    package = importlib.import_module(module)
    if hasattr(package, "__path__"):
        package = importlib.import_module(f"{module}.__main__")

    def parse_args(parser, args=None, namespace=None):
        raise stop(parser, args)

    monkeypatch.setattr(CommandParser, "parse_args", parse_args)
    with pytest.raises(Parsed) as stopped:
        package.main(argv)
    return stopped.value


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command; the last line of stderr lists the heavy modules that it imported."""
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['x', *{arguments!r}]\n"
        f"try: runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
        f"finally: print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)


def test_every_command_is_found():
    assert len(REGISTERED) >= 24
    assert {"digit-edge classify", "digit-edge train", "digit-edge benchmark"} <= set(REGISTERED)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_the_exit_statuses_and_imports_nothing_heavy(name):
    done = run(COMMANDS[name], "--help")
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout.startswith(f"usage: {name} ")
    last = " ".join(done.stdout.rpartition("\n\n")[2].split())
    assert re.fullmatch(r"Exit status: 0 .*, 2 .*, 130 interrupted by Ctrl-C.*\.", last), last


@pytest.mark.parametrize(("name", "action"), SUBCOMMANDS)
def test_subcommand_has_the_same_help(name, action):
    done = run(COMMANDS[name], action, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {name} {action} ")
    assert (
        "\nExit status: 0 done, 2 bad input or usage, 130 interrupted by Ctrl-C.\n" in done.stdout
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_version_is_printed(name, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(COMMANDS[name], ["--version"], monkeypatch)
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"digit-edge {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_description_is_a_sentence(name, monkeypatch):
    parser = parser_of(COMMANDS[name], monkeypatch)
    assert parser.prog == name
    assert re.match(r"[A-Z][a-z]+ (?s:.*)\.$", parser.description)
    assert not parser.description.startswith(("Digit-edge", "The command"))


@pytest.mark.parametrize("name", REGISTERED)
def test_summary_is_one_short_sentence_without_the_name_of_the_command(name):
    module = importlib.import_module(COMMANDS[name])
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{COMMANDS[name]}.__main__")
    summary = module.__doc__.partition("\n")[0]
    assert re.fullmatch(r"[A-Z].{10,58}\.", summary)
    assert "digit-edge" not in summary


def arguments_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the arguments of a command and its subcommands, without --help and --version."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [a for sub in action.choices.values() for a in arguments_of(sub)]
        elif action.dest not in ("help", "version"):
            found.append(action)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_has_a_help_text_and_a_metavar_of_the_list(name, monkeypatch):
    for action in arguments_of(parser_of(COMMANDS[name], monkeypatch)):
        where = action.option_strings or action.dest
        assert action.help, where
        if not action.option_strings:
            assert action.metavar in POSITIONALS, where
        elif action.nargs != 0:
            assert action.metavar in METAVARS, where
            for choice in action.choices or ():
                assert str(choice) in action.help, where


@pytest.mark.parametrize("name", COMMANDS)
def test_same_thing_has_the_same_name_and_metavar_in_every_command(name, monkeypatch):
    """A file or folder to write is --out, a model or a folder of models is --model."""
    metavars = {
        "--model": {"PATH"},
        "--data": {"PATH"},
        "--backend": {"NAME"},
        "--device": {"NAME"},
        "--keys": {"FOLDER"},
        "--out": {"FILE", "FOLDER"},
    }
    for action in arguments_of(parser_of(COMMANDS[name], monkeypatch)):
        for option in action.option_strings:
            assert option not in ("--models", "--into", "--output")
            assert action.metavar in metavars.get(option, {action.metavar}), option
            assert option != "--json" or action.nargs == 0


@pytest.mark.parametrize("module", COMMANDS.values())
def test_every_former_option_is_in_the_table(module, monkeypatch):
    parser = parser_of(module, monkeypatch)
    listed = {option for action in parser._actions for option in action.option_strings}
    former = set(parser._option_string_actions) - listed
    assert former == {alias for owner, alias in ALIASES if owner == module}


@pytest.mark.parametrize(("module", "alias"), ALIASES)
def test_former_option_stays_valid_and_is_not_listed(module, alias, monkeypatch):
    required = list(REQUIRED.get(module, ()))
    value = ["results.json"]
    former = parse(module, [*required, alias, *value], monkeypatch)
    monkeypatch.undo()
    today = parse(module, [*required, ALIASES[module, alias], *value], monkeypatch)
    assert former == today
    monkeypatch.undo()
    text = parser_of(module, monkeypatch).format_help()
    assert not re.search(rf"{alias}\b", text)


@pytest.mark.parametrize(
    ("extra", "engine"),
    [("litert", "litert"), ("tflite", "tflite-runtime"), ("onnx", "onnxruntime")],
)
@pytest.mark.parametrize(
    "module",
    ["runtime", "runtime.serve", "benchmarks", "benchmarks.rejection", "benchmarks.photos"],
)
def test_name_of_an_extra_names_its_engine(module, extra, engine, monkeypatch):
    required = {"runtime": ["a.png"], "benchmarks.photos": ["--data", "photos"]}
    argv = [*required.get(module, []), "--backend", extra]
    assert parse(module, argv, monkeypatch).backend in (engine, [engine])


def test_name_of_an_extra_names_the_engine_of_an_external_python():
    from benchmarks.harness.cases import ExternalPython, parse_external_python

    assert parse_external_python("tflite=/usr/bin/python3") == ExternalPython(
        "tflite-runtime", "/usr/bin/python3"
    )


def test_control_characters_of_an_argument_do_not_reach_the_terminal():
    done = run("runtime.watch", "inbox", "a\x1b[31m", "--model", "m\x9b")
    usage, _, error = done.stderr.removesuffix("[]\n").rpartition("\nerror: ")
    assert (done.returncode, done.stdout) == (2, "")
    assert usage.startswith("usage: digit-edge watch ")
    assert error == "unrecognized arguments: a\\x1b[31m\n"


def test_completion_without_argcomplete_is_an_error_and_runs_nothing():
    """Without it a tab after `digit-edge serve` would start the server."""
    program = (
        "import os, runpy, sys\n"
        "os.environ['_ARGCOMPLETE'] = '1'\n"
        "sys.argv, sys.modules['argcomplete'] = ['x'], None\n"
        "runpy.run_module('runtime.serve', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    hint = 'pip install "digit-edge[completion]"'
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: argcomplete is not installed: {hint}\n"
