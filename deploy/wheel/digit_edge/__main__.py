"""Run a command of the project, or of another package that registers commands: digit-edge COMMAND.

The program `digit-edge` and `python -m digit_edge` call `main`. A command is a module that
`python -m` can run. A package registers its commands in the entry-point group
`digit_edge.commands`, as `name = "package.module"`.
"""

import ast
import importlib.metadata
import importlib.util
import os
import runpy
import sys
from importlib.metadata import EntryPoint

from digit_edge import import_own, own_name

GROUP = "digit_edge.commands"  # the entry-point group in which packages register commands
# Order of the commands in --help, by their packages; commands of other packages follow.
PACKAGES = ("runtime", "train", "export", "benchmarks")
BAD_USAGE = 2  # exit status if the command is missing or unknown; argparse's for unknown options
# Environment variable of argcomplete, the package that completes command lines. While the shell
# completes a command line, it sets this variable to the number of words that name the program, plus
# one.
COMPLETION = "_ARGCOMPLETE"

# The text of --help; `usage` fills in the commands.
USAGE = """\
usage: digit-edge [-h] [--version] COMMAND …

Read handwritten digits, numbers, or classes of your own with a small exported network.

commands:
{commands}

`digit-edge COMMAND --help` prints the options of a command and its exit statuses.
"""


def main() -> None:
    """Run the command that the first argument names.

    The command's module exits with the command's status. Without an argument, or with an unknown
    command, this function exits with status 2.
    """
    import_own("digit_edge.runtime")  # this import installs the handling of Ctrl-C
    commands = find_commands()
    if COMPLETION in os.environ:
        complete(commands)
    if len(sys.argv) < 2:
        print(usage(commands), end="", file=sys.stderr)
        sys.exit(BAD_USAGE)
    name, *arguments = sys.argv[1:]
    if name in ("-h", "--help"):
        print(usage(commands), end="")
    elif name == "--version":
        print(f"digit-edge {import_own('digit_edge.runtime').__version__}")
    elif name in commands:
        run(commands[name], arguments)
    else:
        errors = import_own("digit_edge.runtime.errors")
        errors.report(errors.EdgeError(f"no command {name}: choose one of {', '.join(commands)}"))
        sys.exit(BAD_USAGE)


def find_commands() -> dict[str, EntryPoint]:
    """Return name → entry point of all registered commands.

    The commands of PACKAGES come first, in this order of packages, and then other packages. Within
    a package, the commands are in alphabetical order.
    """
    found = importlib.metadata.entry_points(group=GROUP)
    return {command.name: command for command in sorted(found, key=_place)}


def _place(command: EntryPoint) -> tuple[int, str]:
    package = command.module.removeprefix("digit_edge.").partition(".")[0]
    order = PACKAGES.index(package) if package in PACKAGES else len(PACKAGES)
    return order, command.name


def run(command: EntryPoint, arguments: list[str]) -> None:
    """Run a command's module as `python -m` does.

    Args:
        command: entry point of the command.
        arguments: arguments of the command; they replace those in sys.argv.
    """
    sys.argv = [f"digit-edge {command.name}", *arguments]
    runpy.run_module(own_name(command.module), run_name="__main__", alter_sys=True)


def usage(commands: dict[str, EntryPoint]) -> str:
    """Return the text of --help: every command with the first line of its module's docstring.

    Args:
        commands: name → entry point.
    """
    width = max(map(len, commands), default=0)
    lines = (f"  {name:{width}}  {summary(command)}" for name, command in commands.items())
    return USAGE.format(commands="\n".join(lines))


def summary(command: EntryPoint) -> str:
    """Return the first line of the docstring of a command's module, without importing the module.

    Returns:
        Empty if the module has no docstring; "(its package is not installed)" if the module is
        missing.
    """
    name = own_name(command.module)
    found = importlib.util.find_spec(name)
    if found is not None and found.submodule_search_locations is not None:
        found = importlib.util.find_spec(f"{name}.__main__")
    if found is None or found.origin is None:
        return "(its package is not installed)"
    with open(found.origin, encoding="utf-8") as file:
        text = ast.get_docstring(ast.parse(file.read())) or ""
    return text.partition("\n")[0]


def complete(commands: dict[str, EntryPoint]) -> None:
    """Complete the command line in the shell, with the package argcomplete.

    Completes the name of the command or, after the name, the arguments of the command. The process
    then ends.
    """
    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    words = line.split()
    if len(words) > 1 and words[1] in commands and line[len(line.rstrip()) :] + " ".join(words[2:]):
        # The command's own parser completes the arguments. The program then has two words,
        # `digit-edge NAME`.
        os.environ[COMPLETION] = "2"
        run(commands[words[1]], [])
    parser = import_own("digit_edge.runtime.cli.parser").CommandParser("digit-edge", "")
    parser.add_argument("command", choices=list(commands))
    exit_status = import_own("digit_edge.runtime.cli.exit_status").exit_status
    sys.exit(exit_status(parser.parse_args))


if __name__ == "__main__":
    main()
