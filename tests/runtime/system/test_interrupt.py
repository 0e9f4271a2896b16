"""Ctrl-C ends a command with status 130 and one line, and leaves no child process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WAIT_S = 60
START = (
    "import os, signal, subprocess, sys, time\n"
    "from runtime.system import interrupt\n"
    "from runtime.cli.exit_status import exit_status\n"
    "def press():\n"
    "    os.kill(os.getpid(), signal.SIGINT)\n"
)


started: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def no_process_is_left():
    """Kill the processes that a failed test leaves."""
    yield
    for process in started:
        with process:
            process.kill()
    started.clear()


def start(*arguments: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # A shell ignores SIGINT in background jobs, and child processes inherit that.
        **{"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options},
    )
    started.append(process)
    return process


def command(body: str, **options) -> subprocess.Popen:
    """Start a command whose main function has this body."""
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    return start("-c", f"{START}def main():\n{indented}sys.exit(exit_status(main))", **options)


def end(process: subprocess.Popen) -> tuple[int, str, str]:
    """Wait for a process; return its status, stdout and stderr."""
    stdout, stderr = process.communicate(timeout=WAIT_S)
    return process.returncode, stdout, stderr


def assert_gone(pid: int) -> None:
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} still runs")


@pytest.mark.parametrize(
    "body",
    [
        "class Trap:\n    def __del__(self):\n        press()\nTrap()\nreturn 0",
        "import weakref\nclass Trap: pass\ntrap = Trap()\n"
        "held = weakref.ref(trap, lambda _: press())\ndel trap\nreturn 0",
        "try:\n    press()\nexcept KeyboardInterrupt:\n    pass\nreturn 0",
        "try:\n    press()\nexcept KeyboardInterrupt:\n    raise ImportError('half a module')",
        "try:\n    press()\nfinally:\n    raise SystemExit(0)",
    ],
    ids=["destructor", "weakref callback", "caught", "turned into another error", "exit"],
)
def test_swallowed_interrupt_ends_the_command(body):
    assert end(command(body)) == (130, "", "interrupted\n")


def test_check_raises_a_swallowed_interrupt_at_the_next_step():
    body = (
        "class Trap:\n    def __del__(self):\n        press()\n"
        "for step in range(3):\n    interrupt.check()\n    print(step)\n    Trap()"
    )
    assert end(command(body)) == (130, "0\n", "interrupted\n")


def test_deferred_interrupt_is_raised_at_the_end_of_the_block():
    body = "with interrupt.deferred():\n    press()\n    print('saved')\nprint('never')"
    assert end(command(body)) == (130, "saved\n", "interrupted\n")


@pytest.mark.parametrize("earlier", ["press()", "pass"])
def test_wait_within_deferred_is_interrupted(earlier):
    body = (
        f"with interrupt.deferred():\n    {earlier}\n    print('waiting', flush=True)\n"
        "    with interrupt.immediate():\n        time.sleep(1000)"
    )
    process = command(body)
    assert process.stdout.readline() == "waiting\n"
    if earlier == "pass":
        process.send_signal(signal.SIGINT)
    assert end(process) == (130, "", "interrupted\n")


def test_interrupt_of_imports_ends_at_once():
    body = (
        "with interrupt.at_once():\n    try:\n        press()\n    finally:\n        print('never')"
    )
    assert end(command(body)) == (130, "", "interrupted\n")


def test_two_signals_within_50_ms_are_one_interrupt():
    """`timeout -s INT` sends one to the process and one to its group."""
    body = "try:\n    with interrupt.deferred():\n        press()\n        press()\n"
    body += "        print('saved', flush=True)\nfinally:\n    print('tidied')"
    assert end(command(body)) == (130, "saved\ntidied\n", "interrupted\n")


def test_second_interrupt_ends_at_once_and_kills_children():
    body = (
        "with interrupt.deferred():\n"
        "    process = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "    with interrupt.child(process.pid):\n"
        "        print(process.pid, flush=True)\n"
        "        while True:\n            time.sleep(1000)"
    )
    process = command(body)
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "", "interrupted\n")
    assert_gone(child)


def test_forked_work_ends_with_its_caller():
    body = (
        "from runtime.system.fork import run_in_fork\n"
        "def work():\n    print(os.getpid(), flush=True)\n    time.sleep(1000)\n"
        "run_in_fork(work, 1000)"
    )
    process = command(body)
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "", "interrupted\n")
    assert_gone(child)


def test_ignored_sigint_stays_ignored():
    """As under nohup or for `command &` in a script."""
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    assert end(command("press()\nprint('done')\nreturn 0", **ignore)) == (0, "done\n", "")


def test_interrupt_within_exec_is_an_exit_status(tmp_path):
    """Otherwise Python kills itself with SIGINT after `python -m`."""
    (tmp_path / "module.py").write_text(
        f"{START}def main():\n    exec('press()')\nsys.exit(exit_status(main))"
    )
    assert end(start("-m", "module", cwd=tmp_path)) == (130, "", "interrupted\n")


@pytest.mark.parametrize("module", ["runtime", "runtime.camera", "export", "benchmarks.latency"])
def test_interrupt_while_a_command_starts_is_one_line(module):
    process = start("-X", "importtime", "-m", module, "--help", cwd=ROOT)
    for line in process.stderr:  # one line after each import
        if "numpy" in line:
            break
    process.send_signal(signal.SIGINT)
    status, stdout, stderr = end(process)
    lines = [line for line in stderr.splitlines() if not line.startswith("import time:")]
    assert (status, stdout, lines) == (130, "", ["interrupted"])


def test_program_that_imports_the_library_keeps_its_handler():
    code = "import signal, runtime, runtime.classifier\nprint(signal.getsignal(signal.SIGINT))"
    assert "default_int_handler" in end(start("-c", code))[1]


def test_handler_and_streams_are_restored_after_a_command():
    from runtime.cli.exit_status import exit_status

    before = signal.getsignal(signal.SIGINT), sys.stdout, sys.unraisablehook
    assert exit_status(lambda: 0) == 0
    assert (signal.getsignal(signal.SIGINT), sys.stdout, sys.unraisablehook) == before


def test_lines_are_not_written_twice_if_a_pipe_is_full():
    body = "for number in range(100_000):\n    print(f'{number:07}')"
    for _ in range(5):
        process = command(body)
        time.sleep(0.3)  # until the pipe is full
        process.send_signal(signal.SIGINT)
        status, stdout, stderr = end(process)
        assert (status, stderr) == (130, "interrupted\n")
        numbers = [int(line) for line in stdout.split()]
        assert numbers == list(range(len(numbers)))


def test_handler_is_restored_after_an_exception():
    code = (
        f"{START}"
        "def main():\n    raise RuntimeError('a bug')\n"
        "try:\n    exit_status(main)\n"
        "except RuntimeError:\n    pass\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    assert end(start("-c", code)) == (0, "True\n", "")


def test_keyboard_interrupt_ends_only_one_command_if_sigint_is_ignored():
    code = (
        f"{START}"
        "def stop():\n    raise KeyboardInterrupt\n"
        "print(exit_status(stop), exit_status(lambda: 0))\n"
    )
    ignored = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    assert end(start("-c", code, **ignored)) == (0, "130 0\n", "interrupted\n")
