"""How a command reports what it refuses."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.cli.exit_status import exit_status
from runtime.errors import ArtifactError, ParityError, printable


def refuse(error: BaseException):
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ArtifactError("bad\n  file"), 2, "error: bad file\n"),
        (ParityError("other answers"), 3, "error: other answers\n"),
        (
            ArtifactError("a\x1b]0;b\x07\x00\x9bc\u202ed é 数字 ٣ हिन्दी \U0001f642"),
            2,
            "error: a\\x1b]0;b\\x07\\x00\\x9bc\\u202ed é 数字 ٣ हिन्दी \U0001f642\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "report.html"),
            2,
            "error: cannot write report.html: No space left on device; make room on its disk, or "
            "set TMPDIR to a folder with room for temporary files, and run it again\n",
        ),
    ],
)
def test_a_refusal_is_one_line_and_a_status(capsys, error, status, message):
    assert exit_status(refuse(error)) == status
    assert capsys.readouterr() == ("", message)


def test_names_from_files_do_not_act_on_a_terminal(tmp_path):
    image = tmp_path / "b\x1b[31m.png"
    image.write_bytes((Path(__file__).parents[2] / "examples" / "scan.png").read_bytes())
    for command in ("runtime", "runtime.read", "runtime.selftest --model", "train --set"):
        done = subprocess.run(
            [sys.executable, "-m", *command.split(), str(image)], capture_output=True, text=True
        )
        assert "b\\x1b[31m.png" in done.stdout + done.stderr
        assert "\x1b" not in done.stdout + done.stderr


def test_spaces_of_all_widths_are_printable_and_line_breaks_are_not():
    assert printable("a\u3000b\xa0c d") == "a\u3000b\xa0c d"
    assert printable("a\nb\u2028c") == "a\\nb\\u2028c"


def test_what_works_ends_with_the_commands_own_status():
    assert exit_status(lambda: 0) == 0


@pytest.mark.parametrize("command", ["export --model {keras}", "train --data embedded"])
def test_where_tensorflow_is_absent_the_command_says_how_to_get_it(command, tmp_path):
    """As in an installation of the runtime alone: the packages of training cannot be found."""
    pytest.importorskip("keras")
    import keras

    from runtime.model.spec import Metrics
    from train.data.load import sklearn_digits
    from train.model import build
    from train.save import save

    path = tmp_path / "digits.keras"
    if "{keras}" in command:
        keras.utils.set_random_seed(0)
        digits = sklearn_digits()
        metrics = Metrics(0.1, 1, 0.1, 1)
        save(path, build(10), digits.labels, 1.0, 0.5, digits.dataset, metrics, ())
    words = command.format(keras=path).split()
    script = (
        "import runpy, sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('keras', 'tensorflow'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"sys.argv = {words!r}\n"
        f"runpy.run_module({words[0]!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1] == (
        'error: keras is not installed: pip install "digit-edge[train]"'
    )
    assert "Traceback" not in done.stderr


def test_an_error_of_another_kind_on_a_file_is_a_bug():
    with pytest.raises(PermissionError):
        exit_status(refuse(PermissionError(errno.EACCES, "Permission denied", "report.html")))


def test_a_module_of_our_own_that_is_missing_is_a_bug():
    with pytest.raises(ModuleNotFoundError):
        exit_status(refuse(ModuleNotFoundError("No module named 'train.x'", name="train.x")))
