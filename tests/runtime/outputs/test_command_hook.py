"""--on-digit: runs a user's command for each digit, without a shell."""

import argparse
import os
import subprocess
import sys
import time

import pytest

from runtime.errors import EdgeError
from runtime.outputs import command_hook, sinks
from runtime.outputs.command_hook import CommandHook
from runtime.outputs.home_assistant import number_sensors

DIGIT = {"image": "a.png", "label": "7", "confidence": 0.98765432, "accepted": True}


@pytest.fixture
def script(tmp_path):
    """A program that appends the number of its arguments and each argument to tmp_path/ran."""
    path = tmp_path / "program with a space"
    path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$#" "$@" >> {tmp_path}/ran\n')
    path.chmod(0o755)
    return f"'{path}'"


def ran(tmp_path) -> list[str]:
    """Return the lines that `script` has written."""
    path = tmp_path / "ran"
    return path.read_text().splitlines() if path.exists() else []


def test_command_runs_for_each_digit_in_order_with_its_values(script, tmp_path):
    command = CommandHook(script + " set {label} --at={confidence} '{image} of {label}'")
    for label in "123":
        command.write({**DIGIT, "label": label})
    command.close()
    assert command.waiting == 0
    assert ran(tmp_path) == [
        argument
        for label in "123"
        for argument in ("4", "set", label, "--at=0.9877", f"a.png of {label}")
    ]


def test_command_does_not_run_for_rejected_or_unreadable_images(script, tmp_path):
    command = CommandHook(script)
    command.write({**DIGIT, "accepted": False})
    command.write({"image": "a.png", "error": "cannot be read"})
    command.close()
    assert ran(tmp_path) == []


@pytest.mark.parametrize(
    "evil",
    ["$(touch owned)", "`touch owned`", "; touch owned", "' touch owned '", "a b", "{label}"],
)
def test_value_with_shell_syntax_stays_one_argument(script, tmp_path, monkeypatch, evil):
    monkeypatch.chdir(tmp_path)
    command = CommandHook(script + " {label} {image}")
    command.write({**DIGIT, "label": evil, "image": evil})
    command.close()
    assert ran(tmp_path) == ["2", evil, evil]
    assert not (tmp_path / "owned").exists()


def test_file_named_like_an_option_is_passed_as_a_path(script, tmp_path):
    command = CommandHook(script + " {image}")
    command.write({**DIGIT, "image": "--delete.png"})
    command.close()
    assert ran(tmp_path) == ["1", "./--delete.png"]


def test_hanging_command_is_killed_with_its_children(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(command_hook, "TIMEOUT_S", 2)  # enough to start on a loaded machine
    command = CommandHook(f"sh -c 'sleep 300 & echo $! > {tmp_path}/child; wait'")
    command.write(DIGIT)
    command.close()
    assert capfd.readouterr().err == (
        "error: --on-digit sh: the command was killed after 2 s; run longer commands in the "
        "background\n"
    )
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not os.path.exists(f"/proc/{child}") or _zombie(child):
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child process of the command is still running")


def _zombie(process: int) -> bool:
    """Return whether a process has ended."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_repeated_failure_is_reported_once(capfd):
    command = CommandHook("sh -c 'exit {label}'")
    for label in ("3", "3", "0", "4"):
        command.write({**DIGIT, "label": label})
    command.close()
    assert capfd.readouterr().err.splitlines() == [
        "error: --on-digit sh: the command exited with status 3",
        "error: --on-digit sh: the command exited with status 4",
    ]


def test_digits_beyond_the_queue_limit_are_skipped_with_a_message(monkeypatch, capfd):
    monkeypatch.setattr(command_hook, "TIMEOUT_S", 0.3)
    command = CommandHook("sleep 0.2")
    for _ in range(command_hook.MAX_WAITING_RUNS + 50):
        command.write(DIGIT)
    assert command.waiting <= command_hook.MAX_WAITING_RUNS + 1
    with pytest.raises(EdgeError, match=r"not run for the last 9[0-9] digits"):
        command.close()
    assert "100 runs are waiting" in capfd.readouterr().err


def test_skipping_is_reported_once(monkeypatch, capfd):
    """Also if there are successful runs in between."""
    monkeypatch.setattr(command_hook, "MAX_WAITING_RUNS", 1)
    command = CommandHook("sleep 0.02")
    for _ in range(60):
        command.write(DIGIT)
        time.sleep(0.005)
    command.close()
    assert capfd.readouterr().err.count("runs are waiting") == 1


def test_output_of_the_command_goes_to_stderr():
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
def test_invalid_command_is_rejected_at_the_start(command, message):
    with pytest.raises(EdgeError, match=message):
        CommandHook(command)


def test_help_says_where_the_output_of_the_command_goes():
    parser = argparse.ArgumentParser()
    sinks.add_arguments(parser)
    assert "Its output goes to stderr." in " ".join(parser.format_help().split())


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'echo {image} >> log'",
        "sh -c {image}",
        "/bin/sh -ec 'echo {image}'",
        "bash -o pipefail -lc 'echo {label} {image}'",
        "sh -c -e 'echo {image}'",
        "sh -c -- 'echo {image}'",
        "env LANG=C sh -c 'echo \"{image}\"'",
        "env -S 'sh -c \"echo {image}\"'",
        "nice -n 10 busybox sh -c \"echo '{image}'\"",
        "timeout 5 dash -c 'echo {image}'",
        "sudo -u pi bash -c 'echo {image}'",
        "python3 -c 'print(\"{image}\")'",
        "/usr/bin/python3.11 -Ic'print(\"{image}\")'",
        "perl -e 'print \"{image}\"'",
        "node --eval='console.log(\"{image}\")'",
        "ssh host cp {image} /srv",
        "su pi -c 'cp {image} /srv'",
        "watch cat {image}",
        "awk 'BEGIN { system(\"ls {image}\") }'",
    ],
)
def test_file_name_in_code_is_rejected(command):
    with pytest.raises(EdgeError, match=r'as code; write "\$DIGIT_EDGE_IMAGE" in its place'):
        CommandHook(command)


@pytest.mark.parametrize(
    "command",
    [
        "sh -c 'echo \"$1\" > ran' sh {image}",
        "sh -c 'echo \"$DIGIT_EDGE_IMAGE\" > ran'",
        'python3 -c \'import sys; open("ran", "w").write(sys.argv[1])\' {image}',
        "awk 'END { print FILENAME > \"ran\" }' {image}",
    ],
)
def test_file_name_as_data_of_code_is_not_run(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = 'a$(touch owned)`touch owned`;touch owned".png'
    (tmp_path / name).touch()
    hook = CommandHook(command)
    hook.write({**DIGIT, "image": name})
    hook.close()
    assert ran(tmp_path) == [name]
    assert not (tmp_path / "owned").exists()


def test_values_are_in_the_environment(tmp_path):
    hook = CommandHook(f"sh -c 'env | grep ^DIGIT_EDGE_ | grep -v REQUIRE_ALL > {tmp_path}/ran'")
    hook.write(DIGIT)
    hook.close()
    assert sorted(ran(tmp_path)) == [
        "DIGIT_EDGE_CONFIDENCE=0.9877",
        "DIGIT_EDGE_IMAGE=a.png",
        "DIGIT_EDGE_LABEL=7",
    ]


def test_label_that_could_be_code_is_not_passed_to_a_shell(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    hook = CommandHook("sh -c 'echo {label} >> ran'")
    for label in ("7", "$(touch owned)", "a b"):
        hook.write({**DIGIT, "label": label})
    hook.close()
    assert ran(tmp_path) == ["7"]
    assert not (tmp_path / "owned").exists()
    assert 'write "$DIGIT_EDGE_LABEL" in place of {label}' in capfd.readouterr().err


NUMBER = {"image": "a.png", "region": "main", "value": 1e-05, "confidence": 0.5, "accepted": True}


def test_command_runs_for_each_accepted_number(script, tmp_path):
    command = CommandHook(script + " {value} {region} {confidence} {image}", "--on-number")
    command.write(NUMBER)
    command.write({**NUMBER, "value": 1234567890123456789})
    command.write({**NUMBER, "value": None, "accepted": False, "last_value": 7.5})
    command.write({**NUMBER, "value": 7, "accepted": False})
    command.write({"image": "a.png", "error": "cannot be read"})
    command.close()
    values = ("0.00001", "1234567890123456789")
    assert ran(tmp_path) == [
        each for value in values for each in ("4", value, "main", "0.5000", "a.png")
    ]


def test_values_of_a_number_are_in_the_environment(tmp_path):
    hook = CommandHook(f"sh -c 'env | grep ^DIGIT_EDGE_ | sort > {tmp_path}/ran'", "--on-number")
    hook.write({**NUMBER, "value": 12.5})
    hook.close()
    expected = {"VALUE": "12.5", "REGION": "main", "CONFIDENCE": "0.5000", "IMAGE": "a.png"}
    assert {f"DIGIT_EDGE_{name}={value}" for name, value in expected.items()} <= set(ran(tmp_path))


def test_placeholder_of_a_digit_is_unknown_for_a_number():
    with pytest.raises(EdgeError, match=r"^--on-number: unknown placeholder {label}; use {value}"):
        CommandHook("echo {label}", "--on-number")


@pytest.mark.parametrize(
    ("option", "message"),
    [("--on-digit", "pass --on-number"), ("--on-number", "pass --read")],
)
def test_command_for_the_other_kind_of_result_is_rejected(option, message):
    parser = argparse.ArgumentParser()
    sinks.add_arguments(parser)
    numbers = number_sensors(("main",), None, None, None, False, 0)
    with pytest.raises(EdgeError, match=message):
        sinks.open_sinks(
            parser.parse_args([option, "true"]), numbers if option == "--on-digit" else None
        )
