"""digit-edge classify on many images: its worker processes, their start, end and memory."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

WAIT_S = 60


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "runtime", *map(str, arguments)]


def children(process: subprocess.Popen) -> list[int]:
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        return [int(pid) for pid in file.read().split()]


def test_result_is_printed_before_the_next_name_arrives(popen, folder):
    path, labels = folder
    process = popen(
        command("-", "--jobs", 2), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    # Many names at once, so that the workers start, then one at a time.
    names = [name for name, label in labels.items() if label is not None]
    for name in names[:200]:
        process.stdin.write(f"{path / name}\n")
    process.stdin.flush()
    for name in names[:200]:
        assert process.stdout.readline().startswith(f"{path / name}: {labels[name]} ")
    for name in names[:5]:
        process.stdin.write(f"{path / name}\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(f"{path / name}: {labels[name]} ")
    process.stdin.close()
    assert process.wait(WAIT_S) == 0
    process.stdout.close()


def test_ctrl_c_while_waiting_for_standard_input_ends_all_processes(popen, folder):
    path, _ = folder
    process = popen(
        command("-", "--jobs", 2),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    workers = []
    for _ in range(200):  # a fast machine reads some thousand images before it starts workers
        process.stdin.write(f"{path / '0000.png'}\n" * 100)
        process.stdin.flush()
        for _ in range(100):
            process.stdout.readline()
        workers = children(process)
        if workers:
            break
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_S) == 130
    assert process.stderr.read() == "interrupted\n"
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()
    assert_gone(workers)


@pytest.mark.parametrize("victim", ["the command", "a worker"])
def test_all_processes_end_if_one_is_killed(popen, folder, victim):
    path, _ = folder
    process = popen(
        command("--json", "--jobs", 2, *[path] * 100),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    workers = []
    for _ in range(20_000):  # a fast machine reads some thousand images before it starts workers
        process.stdout.readline()
        workers = children(process)
        if len(workers) == 2:
            break
    assert len(workers) == 2
    os.kill(process.pid if victim == "the command" else workers[0], signal.SIGKILL)
    rest, errors = process.stdout.read(), process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    process.wait(WAIT_S)
    if victim == "a worker":
        assert process.returncode == 2
        assert errors.startswith("error: a worker process died")
        assert errors.count("\n") == 1
        assert all(map(json.loads, rest.splitlines()))
    assert_gone(workers)


def assert_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if not any(os.path.exists(f"/proc/{pid}") for pid in pids):
            return
        time.sleep(0.05)
    raise AssertionError(f"{pids} still run")


def test_one_image_is_read_without_importing_worker_processes(folder):
    script = (
        "import runpy, sys\n"
        f"sys.argv = ['runtime', {str(folder[0] / '0000.png')!r}]\n"
        "try:\n"
        "    runpy.run_module('runtime', run_name='__main__')\n"
        "finally:\n"
        "    print({'multiprocessing', 'concurrent.futures', 'glob'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"


def peak_bytes(count: int, jobs: int, path: str) -> int:
    """Return the peak resident size of the largest process of a command with `count` images."""
    script = (
        "import resource, subprocess, sys\n"
        f"subprocess.run({command('-', '--jobs', jobs)!r}, input={path + chr(10)!r} * {count},"
        " text=True, stdout=subprocess.DEVNULL, check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return int(done.stdout) * 1024


@pytest.mark.parametrize("jobs", [1, 2])
def test_memory_does_not_grow_with_the_number_of_images(folder, jobs):
    path = str(folder[0] / "0000.png")
    few, many = (peak_bytes(count, jobs, path) for count in (1_000, 20_000))
    assert many - few < 4_000_000
