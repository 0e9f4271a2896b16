"""Results as JSON lines on stdout and in a file, also if they cannot be written at first."""

import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runtime.errors import EdgeError
from runtime.outputs.json_lines import MAX_KEPT_RESULTS, JsonLinesWriter

# A command like watch or camera. It writes a result for each line of its input, and then prints
# "taken", the line and the number of waiting results to stderr. The line "room" frees space.
PROGRAM = """
import argparse, resource, sys
from runtime.cli.exit_status import exit_status
from runtime.outputs.sinks import add_arguments, open_sinks

def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    with open_sinks(arguments) as sinks:
        if arguments.limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (arguments.limit, -1))
        for line in sys.stdin:
            if line.startswith("room"):
                resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
                continue
            sinks.write({"image": line.strip(), "label": "7", "confidence": 0.5})
            print("taken", line.strip(), sinks.waiting, file=sys.stderr, flush=True)
    return 0

sys.exit(exit_status(main))
"""


def command(*arguments):
    return [sys.executable, "-c", PROGRAM, *map(str, arguments)]


def run(*arguments, lines, **options):
    return subprocess.run(
        command(*arguments),
        input="\n".join(lines) + "\n",
        text=True,
        capture_output=True,
        **options,
    )


def images(text: str) -> list[str]:
    """Return the images of JSON lines, all of which must be complete."""
    assert not text or text.endswith("\n")
    return [json.loads(line)["image"] for line in text.splitlines()]


def messages(stderr: str) -> list[str]:
    """Return the lines of stderr except "taken …"."""
    return [line for line in stderr.splitlines() if not line.startswith("taken ")]


@pytest.fixture
def lines(tmp_path):
    """A sink that writes to results.jsonl."""
    return JsonLinesWriter(tmp_path / "results.jsonl")


def write(lines: JsonLinesWriter, *names: str) -> None:
    for name in names:
        lines.write({"image": name})


def test_result_is_a_line_on_stdout_and_appended_to_the_file(tmp_path):
    path = tmp_path / "new folder" / "results.jsonl"
    for _ in range(2):
        done = run("--out", path, "--sync", lines=["a.png", "ü ☃.png"])
        assert (done.returncode, messages(done.stderr)) == (0, [])
        assert images(done.stdout) == ["a.png", "ü ☃.png"]
    assert images(path.read_text()) == ["a.png", "ü ☃.png"] * 2


def test_rotated_or_deleted_file_is_created_again(lines, tmp_path):
    path = tmp_path / "results.jsonl"
    write(lines, "1")
    path.rename(tmp_path / "results.jsonl.1")
    write(lines, "2")
    assert images((tmp_path / "results.jsonl.1").read_text()) == ["1"]
    assert images(path.read_text()) == ["2"]
    path.unlink()
    write(lines, "3")
    assert images(path.read_text()) == ["3"]
    lines.close()


def test_incomplete_line_of_a_power_cut_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"image": "1"}\n{"image": "ha')
    lines = JsonLinesWriter(path)
    write(lines, "2")
    lines.close()
    assert path.read_text() == '{"image": "1"}\n{"image": "ha\n{"image": "2"}\n'


def test_concurrent_writers_write_complete_lines(tmp_path):
    path = tmp_path / "results.jsonl"
    sinks = [JsonLinesWriter(path) for _ in range(4)]
    names = [[f"{n}-{i}" * 50 for i in range(300)] for n in range(4)]
    threads = [
        threading.Thread(target=write, args=(s, *n)) for s, n in zip(sinks, names, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(images(path.read_text())) == sorted(name for some in names for name in some)


def test_kill_at_any_moment_loses_no_delivered_result(tmp_path):
    path = tmp_path / "results.jsonl"
    (tmp_path / "given").write_text("".join(f"{number}\n" for number in range(100_000)))
    with (
        open(tmp_path / "given") as given,
        subprocess.Popen(
            command("--out", path),
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        first = process.stderr.readline()
        time.sleep(random.random() * 0.2)
        process.kill()
        taken = [first, *process.stderr.read().splitlines(keepends=True)]
    taken = [line for line in taken if line.endswith(" 0\n")]
    written = images(path.read_text())
    assert 0 < len(taken) <= len(written) < 100_000
    assert written[: len(taken)] == [line.split()[1] for line in taken]


def test_full_disk_is_reported_once_and_loses_no_result(tmp_path):
    """A limit on the file size simulates a full disk; the limit is within a line."""
    path = tmp_path / "results.jsonl"
    names = [f"{n}.png" for n in range(60)]
    given = [*names[:40], "room", *names[40:]]
    done = run("--out", path, "--limit", 1000, lines=given, stdout=None)
    assert done.returncode == 0
    failed, recovered = messages(done.stderr)
    assert failed == (
        f"error: cannot write to {path}: File too large; results are kept and writing is retried"
    )
    assert recovered.startswith(f"{path}: writable again; ")
    assert images(path.read_text()) == names


def test_disk_that_stays_full_leaves_complete_lines_and_is_an_error(tmp_path):
    path = tmp_path / "results.jsonl"
    done = run("--out", path, "--limit", 1000, lines=[f"{n}.png" for n in range(40)])
    written = images(path.read_text())
    assert done.returncode == 2
    assert 0 < len(written) < 40
    assert len(images(done.stdout)) == 40
    assert messages(done.stderr)[-1] == (
        f"error: {40 - len(written)} results could not be written to {path}: File too large; "
        "free some space and run the command again"
    )


def mounted(tmp_path, options: str, script: str, *arguments):
    """Run a shell script in a mount namespace in which tmp_path/disk is a separate file system."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare: apt install util-linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o {options} none {disk}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("mounts are not allowed, not even in a new namespace: run as root")
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && {script}", "sh", *map(str, arguments)],
        text=True,
        capture_output=True,
    )


def test_full_file_system_is_reported_once_and_loses_no_result(tmp_path):
    # The script frees space after the full disk was reported.
    script = (
        f"cd {tmp_path}; head -c 60000 /dev/zero > disk/filler; "
        "(seq 200; for i in $(seq 600); do grep -q 'cannot write' stderr && break; "
        "sleep 0.1; done; rm disk/filler; seq 201 300) | "
        'timeout 60 "$@" --out disk/results.jsonl > stdout 2> stderr; status=$?; '
        "cp disk/results.jsonl .; cat stderr >&2; exit $status"
    )
    done = mounted(tmp_path, "size=64k", script, *command())
    assert done.returncode == 0, done.stderr
    failed, recovered = messages(done.stderr)
    assert "No space left on device; results are kept and writing is retried" in failed
    assert "writable again" in recovered
    assert images((tmp_path / "results.jsonl").read_text()) == [str(n) for n in range(1, 301)]


def test_read_only_file_system_is_one_message(tmp_path):
    done = mounted(tmp_path, "ro", f'seq 3 | "$@" --out {tmp_path}/disk/results.jsonl', *command())
    assert done.returncode == 2
    assert messages(done.stderr) == [
        f"error: cannot write results to {tmp_path}/disk/results.jsonl: Read-only file system; "
        "check the folder, its permissions and the space left"
    ]


def test_full_disk_under_stdout_is_reported():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(), input="1\n2\n", text=True, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 2
    failed, lost = messages(done.stderr)
    assert failed.startswith("error: cannot write to standard output: No space left on device")
    assert lost.startswith("error: 2 results could not be written to standard output")


def test_closed_pipe_on_stdout_is_not_an_error(popen, tmp_path):
    path = tmp_path / "results.jsonl"
    process = popen(
        command("--out", path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    _, stderr = process.communicate("1\n2\n")
    assert (process.returncode, messages(stderr)) == (0, [])
    assert images(path.read_text()) == ["1"]  # the file is written before stdout


def test_number_of_kept_results_is_limited_and_dropped_ones_are_counted(capfd):
    lines = JsonLinesWriter(Path("/dev/full"))
    write(lines, *map(str, range(MAX_KEPT_RESULTS + 5)))
    assert lines.waiting == MAX_KEPT_RESULTS
    with pytest.raises(EdgeError, match=f"^{MAX_KEPT_RESULTS + 5} results could not be written"):
        lines.close()
    full, lost = capfd.readouterr().err.splitlines()
    assert "No space left" in full
    assert f"more than {MAX_KEPT_RESULTS} results are waiting" in lost


def test_kept_results_are_retried_without_a_new_result(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("runtime.outputs.json_lines._RETRY_S", 0.05)
    lines = JsonLinesWriter(tmp_path / "results.jsonl")
    (tmp_path / "results.jsonl").unlink()
    (tmp_path / "results.jsonl").mkdir()
    write(lines, "1")
    assert lines.waiting == 1
    (tmp_path / "results.jsonl").rmdir()
    for _ in range(200):
        if not lines.waiting:
            break
        time.sleep(0.05)
    assert images((tmp_path / "results.jsonl").read_text()) == ["1"]
    lines.close()
    assert len(capfd.readouterr().err.splitlines()) == 2


def test_sync_calls_fsync_for_each_line(tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("needs strace: apt install strace")
    for options, expected in ((["--sync"], 1 + 3), ([], 0)):
        trace = tmp_path / "trace"
        done = subprocess.run(
            [
                "strace",
                "-f",
                "-o",
                trace,
                "-e",
                "trace=fsync",
                *command("--out", tmp_path / "r"),
                *options,
            ],
            input="1\n2\n3\n",
            text=True,
            capture_output=True,
        )
        if "Operation not permitted" in done.stderr:
            pytest.skip("strace is not permitted")
        assert trace.read_text().count("fsync(") == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sync"], "error: --sync needs a file: pass --out FILE too"),
        (["--mqtt-discovery"], "error: --mqtt-discovery needs a broker: pass --mqtt URL too"),
        (["--out", "/proc/results"], "error: cannot write results to /proc/results: "),
        (["--out", "/"], "error: cannot write results to /: Is a directory"),
    ],
)
def test_invalid_usage_is_one_message_and_exit_status_2(arguments, message):
    done = run(*arguments, lines=["1"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_leaves_complete_lines(popen, tmp_path):
    process = popen(
        command("--out", tmp_path / "results.jsonl"),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    process.stdin.write("1\n2\n")
    process.stdin.flush()
    assert process.stderr.readline() == "taken 1 0\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert messages(stderr) == ["interrupted"]
    assert images((tmp_path / "results.jsonl").read_text())[0] == "1"
