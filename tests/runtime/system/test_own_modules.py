"""Commands for our own modules import nothing from the working directory."""

import os
import subprocess

import pytest

from runtime.system.own_modules import module_command, own_name


@pytest.fixture
def folder(tmp_path):
    """A working directory whose modules replace others if they are imported."""
    for name in ("numpy.py", "runpy.py", "train.py"):
        (tmp_path / name).write_text("raise SystemExit('not ours')")
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "__init__.py").write_text("raise SystemExit('not ours')")
    return tmp_path


def run(command, folder):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_module_is_run_as_a_command_beside_modules_of_its_name(folder):
    done = run(module_command(own_name("runtime.selftest")), folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("PASS\n")


def test_arguments_and_the_name_main_are_those_of_python_m(folder):
    done = run(module_command("timeit", "-n", "1", "-r", "1", "pass"), folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 loop" in done.stdout
