"""Run the commands shown in docs/*.md and compare their output with the output shown.

The commands of a page run in one shell, from top to bottom; so do its Python blocks. In an indented
block

    $ command       is run; the lines after it are its output, stdout before stderr
    command         is not run, because it is slow, needs another machine or never ends

All commands, also those in the text, must exist and have the options shown. In shown output

    …               matches any text; alone on a line it matches any number of lines
    1.5, 1e-05      a number with a decimal point or an exponent matches any number

The note that the published model is used may be omitted: the pages have made models of their own.

A command may fail only if `$ echo $?` follows it. All pages share one folder and run in the order
of `PAGES`, so a page can use the files of the pages before it.
"""

import functools
import importlib.util
import operator
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from train import recipe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PYTHONPATH = os.pathsep.join(map(str, (ROOT, ROOT / "deploy/wheel")))  # of digit-edge COMMAND
PAGES = (
    "train",
    "export",
    "microcontrollers",
    "native",
    "runtime",
    "benchmarks",
    "own-model",
    "scale",
    "meter",
)  # pages whose commands are run
SLOW_PAGES = ("own-model", "scale")  # run by `make test-slow`: they take a minute or more each
# Pages that are tested by tests/deploy/test_page.py, or have no commands.
OTHER_TESTS = {"raspberry-pi.md", "boards.md", "reliability.md"}
# Pages without commands to run. Their links, command names, options and settings are checked.
TEXTS = {
    "experiments": DOCS / "experiments.md",
    "RECIPE": ROOT / "train" / "RECIPE.md",
}
FILES = {name: DOCS / f"{name}.md" for name in PAGES} | TEXTS
# A command in a page: groups are the module and its arguments.
COMMAND = re.compile(r"(?<![\w/])digit-edge ([a-z][a-z-]*)([^`#\n]*)")
PYTHONPATH = os.pathsep.join((str(ROOT), str(ROOT / "deploy/wheel")))
NUMBER = r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"  # a number in printed output
NOTE = "using the published model; "  # starts the note
MARK = "--- end of a command ---"  # printed after the output of each command
TIMEOUT_S = 900  # for all commands of a page


@dataclass(frozen=True)
class Command:
    """A command of a page and the lines of output shown below it."""

    text: str
    shown: tuple[str, ...]


def blocks(page: str) -> list[list[str]]:
    """Return the lines of each indented block, without indent; Python blocks become commands."""
    page = re.sub(
        r"^```python\n(.*?)^```\n",
        lambda match: f"    $ python - <<'END'\n{_indented(match[1])}    END\n",
        page,
        flags=re.DOTALL | re.MULTILINE,
    )
    blocks: list[list[str]] = [[]]
    for line in page.splitlines():
        if line.startswith("    "):
            blocks[-1].append(line[4:])
        elif line.strip() or not blocks[-1]:
            blocks.append([])
        else:
            blocks[-1].append("")
    return [block for block in blocks if block]


def _indented(text: str) -> str:
    return "".join(f"    {line}" for line in text.splitlines(keepends=True))


def commands(page: str) -> list[Command]:
    """Return the commands of a page that are run, in order."""
    result = []
    for block in blocks(page):
        starts = [n for n, line in enumerate(block) if line.startswith("$ ")]
        for start, end in zip(starts, [*starts[1:], len(block)], strict=False):
            lines = block[start:end]
            last = lines.index("END") if lines[0].endswith("<<'END'") else 0
            while lines[last].endswith("\\"):
                last += 1
            text = "\n".join([lines[0][2:], *lines[1 : last + 1]])
            shown = tuple(line for line in lines[last + 1 :] if line.strip())
            result.append(Command(text, shown))
    return result


def run(page: str, folder: Path) -> list[str]:
    """Run the commands of a page in one shell in `folder`; return the output of each.

    Fails if a command fails and `$ echo $?` does not follow it.
    """
    bin = folder / "bin"
    bin.mkdir(exist_ok=True)
    python = bin / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    command = bin / "digit-edge"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m digit_edge "$@"\n')
    command.chmod(0o755)
    script = "".join(
        f"{command.text}\nset -- $?; cat err >&3; echo '{MARK}' $1 >&3; : >err; (exit $1)\n"
        for command in commands(page)
    )
    environment = {
        **os.environ,
        "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": PYTHONPATH,
        # An empty cache without DIGIT_EDGE_DATA: a test must not use or download MNIST.
        "XDG_CACHE_HOME": str(folder / "cache"),
        "COLUMNS": "80",
    }
    environment.pop("DIGIT_EDGE_DATA", None)
    done = subprocess.run(
        ["bash", "-c", f"exec 3>&1 2>>err\n{script}"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    printed = re.split(rf"{MARK} (\d+)\n", done.stdout)
    for command, status, following in zip(
        commands(page), printed[1::2], [*commands(page)[1:], None], strict=True
    ):
        may_fail = following is not None and following.text == "echo $?"
        assert status == "0" or may_fail, (
            f"{command.text}: exit status {status}\n{done.stdout[-2000:]}"
        )
    return printed[:-1:2]


def pattern(line: str) -> str:
    """Return the regular expression that a shown line stands for."""
    parts = []
    for part in re.split(r"(…|\d[\d,]*\.\d+(?:e[+-]?\d+)?|\de[+-]?\d+|\s+)", line.strip()):
        if part == "…":
            parts.append(".*")
        elif part.isspace():
            parts.append(r"\s+")
        elif re.fullmatch(r"\d[\d,]*\.\d+(e[+-]?\d+)?|\de[+-]?\d+", part):
            parts.append(NUMBER)
        else:
            parts.append(re.escape(part))
    return "".join(parts)


def difference(shown: tuple[str, ...], printed: str) -> str:
    """Return the first difference between shown and printed lines; empty if they agree."""
    remaining = [line.strip() for line in printed.splitlines() if line.strip()]
    if not any(line.strip().startswith(NOTE) for line in shown):
        remaining = [line for line in remaining if not line.startswith(NOTE)]
    skipping = False
    for line in shown:
        if line.strip() == "…":
            skipping = True
            continue
        while skipping and remaining and not re.fullmatch(pattern(line), remaining[0]):
            del remaining[0]
        if not remaining or not re.fullmatch(pattern(line), remaining[0]):
            printed_line = remaining[0] if remaining else "nothing more"
            return f"shown:   {line.strip()}\nprinted: {printed_line}"
        del remaining[0]
        skipping = False
    return "" if skipping or not remaining else f"printed and not shown: {remaining[0]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Folder in which all pages run; it contains the examples of the repository, and a script."""
    path = tmp_path_factory.mktemp("pages")
    shutil.copytree(ROOT / "examples", path / "examples")
    (path / "docs").mkdir()
    shutil.copy(ROOT / "docs/draw_meter.py", path / "docs")
    return path


@pytest.fixture(scope="module")
def run_page(folder):
    """Return a function that runs a page, after the pages whose files it uses; each only once."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip('training needs pip install "digit-edge[train]"')

    @functools.cache
    def run_once(name: str) -> list[str]:
        number = PAGES.index(name)
        if number:
            run_once(PAGES[min(number, 2) - 1])  # export needs train; the others need export
        return run((DOCS / f"{name}.md").read_text(), folder)

    return run_once


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW_PAGES else ()) for name in PAGES],
)
def test_page_shows_the_output_of_its_commands(name, run_page):
    page = (DOCS / f"{name}.md").read_text()
    printed = run_page(name)
    assert printed, f"{name}.md shows no command"
    for command, output in zip(commands(page), printed, strict=True):
        problem = difference(command.shown, output)
        assert not problem, f"{name}.md, $ {command.text}\n{problem}\n\nfull output:\n{output}"


@functools.cache
def help_of(command: str) -> str:
    """Return the output of a command's --help."""
    done = subprocess.run(
        [sys.executable, "-m", "digit_edge", command, "--help"],
        capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "PYTHONPATH": PYTHONPATH},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), f"{command}: {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", FILES)
def test_commands_shown_exist_and_have_the_options_shown(name):
    page = FILES[name].read_text().replace("\\\n", " ")
    matches = COMMAND.findall(page)
    assert matches
    for command, arguments in matches:
        text = help_of(command)
        for option in re.findall(r"(?<!\S)\[?(--[a-z][a-z-]+)", arguments):
            assert option in text, f"{command} has no {option}"


@pytest.mark.parametrize("name", FILES)
def test_options_named_in_the_text_belong_to_a_command_of_the_page(name):
    page = FILES[name].read_text()
    known = " ".join(help_of(command) for command, _ in COMMAND.findall(page))
    for option in re.findall(r"`(--[a-z][a-z-]+)", page):
        assert re.search(rf"{option}\b", known), option


def test_every_page_is_tested():
    pages = {path.name for path in DOCS.glob("*.md")}
    tested = {path.name for path in FILES.values() if path.parent == DOCS}
    assert tested <= pages <= tested | OTHER_TESTS


def anchor(heading: str) -> str:
    """Return the URL fragment that GitHub gives to a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", FILES.values(), ids=FILES)
def test_links_point_to_existing_files_and_headings(path):
    for target, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", path.read_text()):
        if target.startswith("http"):
            continue
        file = path.parent / target if target else path
        assert file.exists(), f"{path.name}: {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert heading in map(anchor, headings), f"{path.name}: {target}#{heading}"


@pytest.mark.parametrize("path", TEXTS.values(), ids=TEXTS)
def test_settings_shown_are_settings_of_the_recipe(path):
    settings = re.findall(r"(?<![\w.-])([a-z][a-z_0-9.]*)=(\d[\d.]*)", path.read_text())
    for name, value in settings:
        assert recipe.changed(recipe.DEFAULT, [f"{name}={value}"]), name
    assert settings or path.name == "RECIPE.md"


def test_table_of_settings_matches_the_recipes():
    rows = re.findall(
        r"^\| `([a-z_0-9.]+)`[^|]*\|([^|]+)\|([^|]+)\|([^|]+)\|$", recipe_page(), re.M
    )
    assert len(rows) > 10
    for name, *shown in rows:
        for kind, value in zip((recipe.DEFAULT, recipe.FAST, recipe.PUBLISHED), shown, strict=True):
            actual = operator.attrgetter(name)(kind)
            assert float(value) == pytest.approx(actual, rel=1e-3), f"{kind.name}: {name}"


def recipe_page() -> str:
    """Return the text of train/RECIPE.md."""
    return TEXTS["RECIPE"].read_text()


@pytest.mark.parametrize(
    ("shown", "printed", "agrees"),
    [
        (("loss 0.5  1 image",), "loss 12.25 1 image\n", True),
        (("loss 0.5  1 image",), "loss 0.5 2 image\n", False),
        (("difference 1e-05",), "difference 2.5e-06", True),
        (("a", "…", "d"), "a\nb\nc\nd\n", True),
        (("a", "…"), "a\nb\n", True),
        (("a", "…", "d"), "a\nb\n", False),
        (("a",), "a\nb\n", False),
        (("digest …, whole",), "digest 4f…, whole", True),
        (("[x] (y)",), "[x] (y)", True),
        (("a",), "a\nusing the published model; x exists", True),
        (("a", "using the published model; …"), "a\nusing the published model; x exists", True),
        (("a", "using the published model; …"), "a", False),
    ],
)
def test_only_decimal_numbers_and_ellipses_match_other_text(shown, printed, agrees):
    assert (difference(shown, printed) == "") == agrees


def test_commands_are_parsed_with_their_shown_output():
    page = "Text\n\n    $ one \\\n      more\n    out\n\n    $ two\n\nand\n\n    not run\n"
    page += "\n```python\nif 1:\n    print(1)\n```\n"
    assert commands(page) == [
        Command("one \\\n  more", ("out",)),
        Command("two", ()),
        Command("python - <<'END'\nif 1:\n    print(1)\nEND", ()),
    ]


def test_output_has_stdout_before_stderr(tmp_path):
    both = "    $ echo out; echo err >&2\n"
    assert run(both + both, tmp_path) == ["out\nerr\n"] * 2


def test_command_may_fail_only_if_its_status_is_printed(tmp_path):
    assert run("    $ x=2\n    $ (exit $x)\n    $ echo $?\n    2\n", tmp_path)[2] == "2\n"
    with pytest.raises(AssertionError, match="exit status 3"):
        run("    $ (exit 3)\n    $ true\n", tmp_path)
