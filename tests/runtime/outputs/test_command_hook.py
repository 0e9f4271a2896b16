"""--on-digit: a command of the user's for each digit, without a shell."""

import os
import subprocess
import sys
import time

import pytest

from runtime.errors import EdgeError
from runtime.outputs import command_hook
from runtime.outputs.command_hook import CommandHook

DIGIT = {"image": "a.png", "label": "7", "confidence": 0.98765432, "accepted": True}


@pytest.fixture
def script(tmp_path):
    """A program that appends the number of its arguments, and each on a line, to tmp_path/ran."""
    path = tmp_path / "program with a space"
    path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$#" "$@" >> {tmp_path}/ran\n')
    path.chmod(0o755)
    return f"'{path}'"


def ran(tmp_path) -> list[str]:
    path = tmp_path / "ran"
    return path.read_text().splitlines() if path.exists() else []


def test_the_command_runs_for_each_digit_in_order_with_its_values(script, tmp_path):
    command = CommandHook(script + " set {label} --at={confidence} '{image} of {label}'")
    for label in "123":
        command.write({**DIGIT, "label": label})
    command.close()
    assert command.waiting == 0
    assert ran(tmp_path) == sum(
        (["4", "set", label, "--at=0.9877", f"a.png of {label}"] for label in "123"), []
    )


def test_what_is_no_digit_runs_nothing(script, tmp_path):
    command = CommandHook(script)
    command.write({**DIGIT, "accepted": False})
    command.write({"image": "a.png", "error": "cannot be read"})
    command.close()
    assert ran(tmp_path) == []


@pytest.mark.parametrize(
    "evil",
    ["$(touch owned)", "`touch owned`", "; touch owned", "' touch owned '", "a b", "{label}"],
)
def test_no_value_is_more_than_one_argument(script, tmp_path, monkeypatch, evil):
    monkeypatch.chdir(tmp_path)
    command = CommandHook(script + " {label} {image}")
    command.write({**DIGIT, "label": evil, "image": evil})
    command.close()
    assert ran(tmp_path) == ["2", evil, evil]
    assert not (tmp_path / "owned").exists()


def test_a_file_named_like_an_option_is_none(script, tmp_path):
    command = CommandHook(script + " {image}")
    command.write({**DIGIT, "image": "--delete.png"})
    command.close()
    assert ran(tmp_path) == ["1", "./--delete.png"]


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(command_hook, "TIMEOUT_S", 0.5)
    command = CommandHook(f"sh -c 'sleep 300 & echo $! > {tmp_path}/child; wait'")
    command.write(DIGIT)
    command.close()
    assert capfd.readouterr().err == (
        "error: --on-digit sh: killed after 0.5 s; run longer commands in the background\n"
    )
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not os.path.exists(f"/proc/{child}") or _zombie(child):
            break
        time.sleep(0.05)
    else:
        pytest.fail("the command's child lives on")


def _zombie(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_failure_is_a_message_once(capfd):
    command = CommandHook("sh -c 'exit {label}'")
    for label in ("3", "3", "0", "4"):
        command.write({**DIGIT, "label": label})
    command.close()
    assert capfd.readouterr().err.splitlines() == [
        "error: --on-digit sh: exited with status 3",
        "error: --on-digit sh: exited with status 4",
    ]


def test_more_digits_than_it_can_take_are_passed_over_with_a_message(monkeypatch, capfd):
    monkeypatch.setattr(command_hook, "TIMEOUT_S", 0.3)
    command = CommandHook("sleep 0.2")
    for _ in range(command_hook.MAX_WAITING_RUNS + 50):
        command.write(DIGIT)
    assert command.waiting <= command_hook.MAX_WAITING_RUNS + 1
    with pytest.raises(EdgeError, match="not run for the last 9[0-9] digits"):
        command.close()
    assert "100 runs are waiting" in capfd.readouterr().err


def test_that_digits_are_passed_over_is_said_once(monkeypatch, capfd):
    """Also where runs that went well lie between."""
    monkeypatch.setattr(command_hook, "MAX_WAITING_RUNS", 1)
    command = CommandHook("sleep 0.02")
    for _ in range(60):
        command.write(DIGIT)
        time.sleep(0.005)
    command.close()
    assert capfd.readouterr().err.count("runs are waiting") == 1


def test_what_a_command_prints_is_no_result():
    program = (
        "import argparse\n"
        "from runtime.outputs.sinks import add_arguments, open_sinks\n"
        "parser = argparse.ArgumentParser()\n"
        "add_arguments(parser)\n"
        "with open_sinks(parser.parse_args()) as sinks:\n"
        "    sinks.write({'label': '7', 'confidence': 1.0})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--on-digit", "echo a {label}", "--on-digit", "echo b"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout == '{"label": "7", "confidence": 1.0}\n'
    assert sorted(done.stderr.splitlines()) == ["a 7", "b"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "no command; pass one"),
        ("echo 'open", "close the quotes"),
        ("echo {lable}", "unknown placeholder {lable}"),
        ("{image} 1", "must not be a placeholder"),
        ("no-such-program-here 1", "command 'no-such-program-here' not found"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_at_the_start(command, message):
    with pytest.raises(EdgeError, match=message):
        CommandHook(command)
