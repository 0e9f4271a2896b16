"""The pages of docs/ say what the program does: each command they show is run.

A page is read as its reader reads it, from top to bottom in one shell. In an indented block

    $ command       is run, and what follows is what it prints, on stdout and then on stderr
    command         is not run, for it takes long, needs another machine or never ends; like the
                    commands in the running text it must exist and know the options shown

In what is printed `…` stands for anything, alone on a line for any lines, and a number with a
decimal point or an exponent for any number. A command may fail only where `$ echo $?` follows it.
The pages go on in one folder, in the order of `PAGES`; Python blocks are run where they stand.
"""

import functools
import importlib.util
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
PAGES = ("train", "export", "runtime", "benchmarks", "microcontrollers")
# Tested by a file of its own.
ELSEWHERE = {"raspberry-pi.md"}
# Pages without commands to run, whose links, commands and settings are checked.
TEXTS = {"experiments": DOCS / "experiments.md", "RECIPE": ROOT / "train" / "RECIPE.md"}
FILES = {name: DOCS / f"{name}.md" for name in PAGES} | TEXTS
MODULE = re.compile(r"python -m ((?:train|export|runtime|benchmarks)[a-z_.]*)([^`#\n]*)")
FIGURE = r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"
MARK = "--- end of a command ---"


@dataclass(frozen=True)
class Command:
    """One command of a page, and the lines it is said to print."""

    text: str
    shown: tuple[str, ...]


def blocks(page: str) -> list[list[str]]:
    """The indented blocks, without their indent, and Python blocks as commands."""
    page = re.sub(
        r"^```python\n(.*?)^```\n",
        lambda found: f"    $ python - <<'END'\n{_indented(found[1])}    END\n",
        page,
        flags=re.DOTALL | re.MULTILINE,
    )
    found: list[list[str]] = [[]]
    for line in page.splitlines():
        if line.startswith("    "):
            found[-1].append(line[4:])
        elif line.strip() or not found[-1]:
            found.append([])
        else:
            found[-1].append("")
    return [block for block in found if block]


def _indented(text: str) -> str:
    return "".join(f"    {line}" for line in text.splitlines(keepends=True))


def commands(page: str) -> list[Command]:
    """The commands to be run, in order."""
    found = []
    for block in blocks(page):
        starts = [n for n, line in enumerate(block) if line.startswith("$ ")]
        for start, end in zip(starts, [*starts[1:], len(block)], strict=False):
            lines = block[start:end]
            last = lines.index("END") if lines[0].endswith("<<'END'") else 0
            while lines[last].endswith("\\"):
                last += 1
            text = "\n".join([lines[0][2:], *lines[1 : last + 1]])
            found.append(Command(text, tuple(line for line in lines[last + 1 :] if line.strip())))
    return found


def run(page: str, folder: Path) -> list[str]:
    """Run a page's commands in one shell in `folder`: what each printed."""
    bin = folder / "bin"
    bin.mkdir(exist_ok=True)
    python = bin / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    script = "".join(
        f"{command.text}\nset -- $?; cat err >&3; echo '{MARK}' $1 >&3; : >err; (exit $1)\n"
        for command in commands(page)
    )
    environment = {
        **os.environ,
        "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        # Nobody downloads MNIST, or finds it, for a test.
        "XDG_CACHE_HOME": str(folder / "cache"),
        "COLUMNS": "80",
    }
    environment.pop("DIGIT_EDGE_DATA", None)
    done = subprocess.run(
        ["bash", "-c", f"exec 3>&1 2>>err\n{script}"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    printed = re.split(rf"{MARK} (\d+)\n", done.stdout)
    for command, status, following in zip(
        commands(page), printed[1::2], [*commands(page)[1:], None], strict=True
    ):
        told = following is not None and following.text == "echo $?"
        assert status == "0" or told, f"{command.text}: exit status {status}\n{done.stdout[-2000:]}"
    return printed[:-1:2]


def pattern(line: str) -> str:
    """A shown line as a regular expression."""
    parts = []
    for part in re.split(r"(…|\d[\d,]*\.\d+(?:e[+-]?\d+)?|\de[+-]?\d+|\s+)", line.strip()):
        if part == "…":
            parts.append(".*")
        elif part.isspace():
            parts.append(r"\s+")
        elif re.fullmatch(r"\d[\d,]*\.\d+(e[+-]?\d+)?|\de[+-]?\d+", part):
            parts.append(FIGURE)
        else:
            parts.append(re.escape(part))
    return "".join(parts)


def difference(shown: tuple[str, ...], printed: str) -> str:
    """What is shown and not printed, or printed and not shown; empty where they agree."""
    left = [line.strip() for line in printed.splitlines() if line.strip()]
    skipping = False
    for line in shown:
        if line.strip() == "…":
            skipping = True
            continue
        while skipping and left and not re.fullmatch(pattern(line), left[0]):
            del left[0]
        if not left or not re.fullmatch(pattern(line), left[0]):
            return f"shown:   {line.strip()}\nprinted: {left[0] if left else 'nothing more'}"
        del left[0]
        skipping = False
    return "" if skipping or not left else f"printed and not shown: {left[0]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the pages are followed, one after the other: a checkout's examples."""
    made = tmp_path_factory.mktemp("pages")
    shutil.copytree(ROOT / "examples", made / "examples")
    return made


@pytest.fixture(scope="module")
def follow(folder):
    """Follows a page, and those before it whose files it uses; each of them once."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip('training needs pip install "digit-edge[train]"')

    @functools.cache
    def followed(name: str) -> list[str]:
        before = PAGES.index(name)
        if before:
            followed(PAGES[min(before, 2) - 1])
        return run((DOCS / f"{name}.md").read_text(), folder)

    return followed


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_what_its_commands_print(name, follow):
    page = (DOCS / f"{name}.md").read_text()
    printed = follow(name)
    assert printed, f"{name}.md shows no command"
    for command, output in zip(commands(page), printed, strict=True):
        wrong = difference(command.shown, output)
        assert not wrong, f"{name}.md, $ {command.text}\n{wrong}\n\nall of it:\n{output}"


@functools.cache
def help_of(module: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "COLUMNS": "100"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), f"{module}: {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", FILES)
def test_each_command_named_is_there_and_knows_the_options_shown(name):
    page = FILES[name].read_text().replace("\\\n", " ")
    found = MODULE.findall(page)
    assert found
    for module, rest in found:
        text = help_of(module.rstrip("."))
        for option in re.findall(r"(?<!\S)\[?(--[a-z][a-z-]+)", rest):
            assert option in text, f"{module} has no {option}"


@pytest.mark.parametrize("name", FILES)
def test_each_option_in_the_tables_is_one_of_some_command_of_the_page(name):
    page = FILES[name].read_text()
    known = " ".join(help_of(module.rstrip(".")) for module, _ in MODULE.findall(page))
    for option in re.findall(r"`(--[a-z][a-z-]+)", page):
        assert re.search(rf"{option}\b", known), option


def test_every_page_is_tested():
    pages = {path.name for path in DOCS.glob("*.md")}
    tested = {path.name for path in FILES.values() if path.parent == DOCS}
    assert tested <= pages <= tested | ELSEWHERE


def anchor(heading: str) -> str:
    """The fragment of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", FILES.values(), ids=FILES)
def test_links_lead_to_files_and_headings(path):
    for target, heading in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", path.read_text()):
        if target.startswith("http"):
            continue
        file = path.parent / target if target else path
        assert file.exists(), f"{path.name}: {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert heading in map(anchor, headings), f"{path.name}: {target}#{heading}"


def field_of(name: str) -> str:
    part, dot, rest = name.partition(".")
    return part + dot + rest


@pytest.mark.parametrize("path", TEXTS.values(), ids=TEXTS)
def test_each_setting_named_is_one_of_the_recipe(path):
    found = re.findall(r"(?<![\w.-])([a-z][a-z_0-9.]*)=(\d[\d.]*)", path.read_text())
    for name, value in found:
        assert recipe.changed(recipe.DEFAULT, [f"{field_of(name)}={value}"]), name
    assert found or path.name == "RECIPE.md"


def test_the_table_of_settings_shows_the_recipes():
    rows = re.findall(
        r"^\| `([a-z_0-9.]+)`[^|]*\|([^|]+)\|([^|]+)\|([^|]+)\|$", recipe_page(), re.M
    )
    assert len(rows) > 10
    for name, *shown in rows:
        for kind, value in zip((recipe.DEFAULT, recipe.FAST, recipe.PUBLISHED), shown, strict=True):
            part, _, rest = field_of(name).partition(".")
            actual = getattr(kind, part)
            actual = getattr(actual, rest) if rest else actual
            assert float(value) == pytest.approx(actual, rel=1e-3), f"{kind.name}: {name}"


def recipe_page() -> str:
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
    ],
)
def test_of_what_is_shown_only_figures_and_dots_are_free(shown, printed, agrees):
    assert (difference(shown, printed) == "") == agrees


def test_commands_are_found_with_what_they_print():
    page = "Text\n\n    $ one \\\n      more\n    out\n\n    $ two\n\nand\n\n    not run\n"
    page += "\n```python\nif 1:\n    print(1)\n```\n"
    assert commands(page) == [
        Command("one \\\n  more", ("out",)),
        Command("two", ()),
        Command("python - <<'END'\nif 1:\n    print(1)\nEND", ()),
    ]


def test_a_command_may_fail_only_where_that_is_said(tmp_path):
    assert run("    $ x=2\n    $ (exit $x)\n    $ echo $?\n    2\n", tmp_path)[2] == "2\n"
    both = "    $ echo out; echo err >&2\n"
    assert run(both + both, tmp_path) == ["out\nerr\n"] * 2
    with pytest.raises(AssertionError, match="exit status 3"):
        run("    $ (exit 3)\n    $ true\n", tmp_path)
