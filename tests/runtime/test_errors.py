"""How a command reports an error: one line on stderr and an exit status."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.cli.exit_status import exit_status
from runtime.errors import ArtifactError, ParityError, printable
from runtime.system import interrupt


def failing(error: BaseException):
    """Return a main function that raises `error`."""

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
def test_error_is_one_line_and_a_status(capsys, error, status, message):
    interrupt.report_as("interrupted")  # a command of another test in this process may differ
    assert exit_status(failing(error)) == status
    assert capsys.readouterr() == ("", message)


def test_escape_sequences_in_file_names_are_printed_escaped(tmp_path):
    image = tmp_path / "b\x1b[31m.png"
    image.write_bytes((Path(__file__).parents[2] / "examples" / "scan.png").read_bytes())
    for command in ("runtime", "runtime.read", "runtime.selftest --model", "train --set"):
        done = subprocess.run(
            [sys.executable, "-m", *command.split(), str(image)], capture_output=True, text=True
        )
        assert "b\\x1b[31m.png" in done.stdout + done.stderr
        assert "\x1b" not in done.stdout + done.stderr


def test_printable_keeps_unicode_spaces_and_escapes_line_breaks():
    assert printable("a\u3000b\xa0c d") == "a\u3000b\xa0c d"
    assert printable("a\nb\u2028c") == "a\\nb\\u2028c"


def test_status_of_a_successful_command_is_returned():
    assert exit_status(lambda: 0) == 0


@pytest.mark.parametrize("command", ["export --model {keras}", "train --data embedded"])
def test_missing_tensorflow_is_one_line_with_the_extra_to_install(command, tmp_path):
    """Simulates an installation of the runtime only: Keras and TensorFlow cannot be imported."""
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


def test_unexpected_file_error_is_raised_as_a_bug():
    with pytest.raises(PermissionError):
        exit_status(failing(PermissionError(errno.EACCES, "Permission denied", "report.html")))


def test_missing_module_of_the_project_is_raised_as_a_bug():
    with pytest.raises(ModuleNotFoundError):
        exit_status(failing(ModuleNotFoundError("No module named 'train.x'", name="train.x")))
