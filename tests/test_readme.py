"""What the README says is what the program does."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"python -m ([a-z.]+)((?: +[^\s#`\])]+)*)", README)))


def test_the_table_shows_the_committed_report():
    from benchmarks import readme

    assert readme.main(["--check", "--readme", str(ROOT / "README.md"), *_report()]) == 0


def _report() -> list[str]:
    return ["--report", str(ROOT / "benchmarks/results/report.json")]


@pytest.mark.parametrize("module", sorted({module for module, _ in COMMANDS}))
def test_each_command_named_is_there_and_knows_the_options_shown(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = [word for name, rest in COMMANDS if name == module for word in shlex.split(rest)]
    for option in shown:
        if option.startswith("--"):
            assert option in done.stdout, f"{module} has no {option}"


def test_the_examples_are_read_as_shown():
    wanted = re.search(r"\$ python -m runtime (examples/.*)\n((?:    examples/.*\n)+)", README)
    assert wanted is not None
    done = subprocess.run(
        [sys.executable, "-m", "runtime", *wanted[1].split()],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    shown = [re.sub(r" [\d.]+%", "", line.strip()) for line in wanted[2].splitlines()]
    assert [re.sub(r" [\d.]+%", "", line) for line in done.stdout.splitlines()] == shown


def test_the_files_it_links_to_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
