"""Test the README: its commands, options, examples, links, length and table of results."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MAX_LINES = 150
# Pairs of a command and its arguments.
COMMANDS = sorted(
    set(re.findall(r"((?<![\w/])digit-edge [a-z-]+|python -m [a-z.]+)((?: +[^\s#`\])]+)*)", README))
)


def test_readme_is_short():
    assert len(README.splitlines()) < MAX_LINES


def test_table_matches_the_committed_report():
    from benchmarks import readme

    assert readme.main(["--check", "--readme", str(ROOT / "README.md"), *_report()]) == 0


def _report() -> list[str]:
    return ["--report", str(ROOT / "benchmarks/results/report.json")]


@pytest.mark.parametrize("command", sorted({command for command, _ in COMMANDS}))
def test_commands_shown_exist_and_have_the_options_shown(command):
    words = command.replace("digit-edge", "python -m digit_edge").split()[1:]
    done = subprocess.run(
        [sys.executable, *words, "--help"],
        capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "deploy/wheel")},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    arguments = [word for name, rest in COMMANDS if name == command for word in shlex.split(rest)]
    for option in arguments:
        if option.startswith("--"):
            assert option in done.stdout, f"{command} has no {option}"


def test_examples_are_classified_as_shown():
    """Confidences are not compared."""
    example = re.search(r"\$ digit-edge classify (examples/.*)\n((?:    examples/.*\n)+)", README)
    assert example is not None
    done = subprocess.run(
        [sys.executable, "-m", "runtime", *example[1].split()],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    shown = [re.sub(r" [\d.]+%", "", line.strip()) for line in example[2].splitlines()]
    assert [re.sub(r" [\d.]+%", "", line) for line in done.stdout.splitlines()] == shown


def test_links_point_to_existing_files():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
