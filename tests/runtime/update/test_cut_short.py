"""python -m runtime.update cut short: by a full disk, too little memory, a kill, a power cut."""

import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import runtime
from runtime import Classifier
from runtime.model import artifact
from runtime.reload import previous
from runtime.update.run import update

pytest.importorskip("cryptography", reason='needs cryptography: pip install "digit-edge[update]"')
PRETRAINED = Path(runtime.__file__).parent / "pretrained"
OLD, NEW = (artifact.read(PRETRAINED / name) for name in ("digits-int8.tflite", "digits.tflite"))


def mounted(device, size: str, then: str = "true"):
    """Run an update where the models' folder is a file system of its own, of this size."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare: apt install util-linux")
    folder = device.target.parent
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    mount = f"mount -t tmpfs -o size={size} none {folder} && cp -r {kept}/. {folder} && {then}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("mounts are not allowed here, not even in a namespace of its own: run as root")
    script = f'{mount} && "$@"; status=$?; cp -r {folder}/. {kept}; exit $status'
    command = [sys.executable, "-m", "runtime.update", device.new, "--into", device.target]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *command], capture_output=True, text=True
    )
    device.target = kept / device.target.name
    return done


def test_a_full_disk_leaves_the_model(device):
    done = mounted(device, "200k")  # the model in use is 92 KB, the new one 276
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert device.holds(OLD)


def test_a_read_only_folder_leaves_the_model(device):
    done = mounted(device, "8m", f"mount -o remount,ro {device.target.parent}")
    assert done.returncode == 2
    assert "Read-only file system" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert device.holds(OLD)


def test_too_little_memory_leaves_the_model(device):
    program = (
        "import resource, sys\n"
        "from runtime.cli.exit_status import exit_status\n"
        "from runtime import signing\n"
        "from runtime.update.__main__ import main\n"
        "import cryptography.hazmat.primitives.serialization\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (8 << 20), -1))\n"
        "sys.exit(exit_status(lambda: main(sys.argv[1:])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, device.new, "--into", device.target],
        capture_output=True,
        text=True,
    )
    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")  # libraries may complain before it
    assert device.holds(OLD)


# Updates a model again and again, each in a process of its own that is killed: at its nth operation
# on files, or after so many seconds. Prints, for each, whether it was, and what its place held.
KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
import ai_edge_litert.interpreter
import cryptography.hazmat.primitives.serialization
from runtime.model import artifact
from runtime.update import run as update
from runtime.reload import previous

target, *sources = map(Path, sys.argv[1:])

def digest(path):
    return artifact.read(path).spec.digest if path.exists() else None

for number, line in enumerate(sys.stdin):
    kind, moment = line.split()
    child = os.fork()
    if child == 0:
        if kind == "operation":
            left = int(moment)
            def count(event, arguments):
                global left
                if event.startswith(("os.", "open", "fcntl", "shutil")) and os.getpid() == me:
                    left -= 1
                    if left == 0:
                        os.kill(me, signal.SIGKILL)
            me = os.getpid()
            sys.addaudithook(count)
        try:
            update.update(str(sources[number % 2]), target, None)
        finally:
            os._exit(0)
    began = time.monotonic()
    if kind == "seconds":
        time.sleep(float(moment))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    print(int(os.WIFSIGNALED(status)), time.monotonic() - began, digest(target),
          digest(previous(target)), flush=True)
"""


class Killed:
    """Runs KILLED; the place must hold one of the two models after each update."""

    def __init__(self, device) -> None:
        command = [sys.executable, "-W", "ignore", "-c", KILLED, device.target]
        self._process = subprocess.Popen(
            [*command, device.new, device.old],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._device = device

    def update(self, kind: str, moment: float) -> tuple[bool, float]:
        """Kill an update at a moment; whether there was something to kill, and its seconds."""
        self._process.stdin.write(f"{kind} {moment}\n")
        self._process.stdin.flush()
        killed, seconds, digest, kept = self._process.stdout.readline().split()
        known = {OLD.spec.digest, NEW.spec.digest}
        assert digest in known, f"{kind} {moment}: {digest}"
        assert kept in known | {"None"}, f"{kind} {moment}: {kept}"
        return killed == "1", float(seconds)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def killed(device):
    pytest.importorskip("ai_edge_litert")
    process = Killed(device)
    yield process
    process.close()
    # A device that was cut off goes on: the next update works, and leaves nothing of the others.
    for path, model in ((device.old, OLD), (device.new, NEW)):
        update(str(path), device.target, None)
        assert artifact.read(device.target).spec.digest == model.spec.digest
    assert device.holds(NEW, kept=OLD)
    assert Classifier.load(device.target).classify(NEW.spec.golden.pixels[0])


def test_killed_at_every_operation_on_files_a_working_model_is_there(killed):
    assert killed.update("operation", 10**9) == (False, pytest.approx(0, abs=60))
    moment = 1
    while killed.update("operation", moment)[0]:
        moment += 1
    assert moment > 15  # the renames are among them, whatever else there is


def at_random_moments(killed: Killed, count: int) -> None:
    seconds = [killed.update("operation", 10**9)[1] for _ in range(3)]
    moments = random.Random()
    ends = [
        killed.update("seconds", moments.uniform(0, 1.1 * max(seconds)))[0] for _ in range(count)
    ]
    assert any(ends)


def test_killed_at_twenty_random_moments_a_working_model_is_there(killed):
    at_random_moments(killed, 20)


@pytest.mark.slow
def test_killed_at_a_hundred_random_moments_a_working_model_is_there(killed):
    at_random_moments(killed, 100)


def test_a_power_cut_finds_files_on_the_disk_before_their_names(device, tmp_path):
    """SIGKILL leaves what the system has in memory; a power cut does not: the order counts."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace: apt install strace")
    trace = tmp_path / "trace"
    calls = "rename,renameat,renameat2,fsync,fdatasync"
    command = [sys.executable, "-m", "runtime.update", device.new, "--into", device.target]
    done = subprocess.run(
        ["strace", "-y", "-o", trace, "-e", f"trace={calls}", *command],
        capture_output=True,
        text=True,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    steps = [line for line in trace.read_text().splitlines() if "= 0" in line]
    names = [re.findall(r'"([^"]+)"|<([^>]+)>', step) for step in steps]
    calls = [step.partition("(")[0] for step in steps]
    paths = [[a or b for a, b in found] for found in names]
    renames = [at for at, call in enumerate(calls) if call.startswith("rename")]
    assert [paths[at][1] for at in renames] == [str(previous(device.target)), str(device.target)]
    for at in renames:
        assert (calls[at - 1], paths[at - 1]) == ("fsync", paths[at][:1])
        assert (calls[at + 1], paths[at + 1]) == ("fsync", [str(device.target.parent)])
