"""digit-edge update under failures: full disk, too little memory, SIGKILL, power cut."""

import os
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
from runtime.update import run as update_run
from runtime.update.run import rollback, update
from tests.kill import kill_at_each_step

pytest.importorskip("cryptography", reason='needs cryptography: pip install "digit-edge[update]"')
PRETRAINED = Path(runtime.__file__).parent / "pretrained"
OLD = artifact.read(PRETRAINED / "digits-int8.tflite")  # the installed model
NEW = artifact.read(PRETRAINED / "digits.tflite")  # the model of the update
NEVER = 10**9  # number of a file operation that an update does not reach


def update_on_tmpfs(device, size: str, then: str = "true"):
    """Run an update with the models' folder on a tmpfs of this size.

    The shell command `then` runs after the mount. Afterwards `device.target` is in a copy of the
    folder.
    """
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare: apt install util-linux")
    folder = device.target.parent
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    mount = f"mount -t tmpfs -o size={size} none {folder} && cp -r {kept}/. {folder} && {then}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs in a user namespace: run as root")
    script = f'{mount} && "$@"; status=$?; cp -r {folder}/. {kept}; exit $status'
    command = [sys.executable, "-m", "runtime.update", device.new, "--model", device.target]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *command], capture_output=True, text=True
    )
    device.target = kept / device.target.name
    return done


def test_full_disk_keeps_the_installed_model(device):
    done = update_on_tmpfs(device, "200k")  # the models have 92 KB (old) and 276 KB (new)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert device.holds(OLD)


def test_read_only_folder_keeps_the_installed_model(device):
    done = update_on_tmpfs(device, "8m", f"mount -o remount,ro {device.target.parent}")
    assert done.returncode == 2
    assert "Read-only file system" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert device.holds(OLD)


def test_too_little_memory_keeps_the_installed_model(device):
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
        [sys.executable, "-c", program, device.new, "--model", device.target],
        capture_output=True,
        text=True,
    )
    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")  # libraries may print other lines
    assert device.holds(OLD)


# A program that reads lines "operation N" or "seconds T". For each it runs an update in a child
# process and kills it at its Nth file operation, or after T seconds. It prints whether the child
# was killed, its duration in seconds, and the digests of the target and the previous model.
KILL_PROGRAM = """
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
            remaining = int(moment)
            def count(event, arguments):
                global remaining
                if event.startswith(("os.", "open", "fcntl", "shutil")) and os.getpid() == pid:
                    remaining -= 1
                    if remaining == 0:
                        os.kill(pid, signal.SIGKILL)
            pid = os.getpid()
            sys.addaudithook(count)
        try:
            update.update(str(sources[number % 2]), target, None, allow_older=True)
        finally:
            os._exit(0)
    start = time.monotonic()
    if kind == "seconds":
        time.sleep(float(moment))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    print(int(os.WIFSIGNALED(status)), time.monotonic() - start, digest(target),
          digest(previous(target)), flush=True)
"""


class UpdateKiller:
    """Runs KILL_PROGRAM; asserts after each update that the target is one of the two models."""

    def __init__(self, device) -> None:
        command = [sys.executable, "-W", "ignore", "-c", KILL_PROGRAM, device.target]
        self._process = subprocess.Popen(
            [*command, device.new, device.old],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._device = device

    def update(self, kind: str, moment: float) -> tuple[bool, float]:
        """Run an update and kill it; return whether it was killed, and its seconds."""
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
def killer(device):
    """An UpdateKiller; afterwards updates must work and leave no temporary files."""
    pytest.importorskip("ai_edge_litert")
    process = UpdateKiller(device)
    yield process
    process.close()
    for path, model in ((device.old, OLD), (device.new, NEW)):
        update(str(path), device.target, None, allow_older=True)
        assert artifact.read(device.target).spec.digest == model.spec.digest
    assert device.holds(NEW, kept=OLD)
    assert Classifier.load(device.target).classify(NEW.spec.golden.pixels[0])


def test_update_killed_at_any_file_operation_leaves_a_working_model(killer):
    assert killer.update("operation", NEVER) == (False, pytest.approx(0, abs=60))
    operation = 1
    while killer.update("operation", operation)[0]:
        operation += 1
    assert operation > 15  # enough to include the renames


def kill_at_random_times(killer: UpdateKiller, count: int) -> None:
    durations = [killer.update("operation", NEVER)[1] for _ in range(3)]
    times = random.Random()
    killed = [
        killer.update("seconds", times.uniform(0, 1.1 * max(durations)))[0] for _ in range(count)
    ]
    assert any(killed)


def test_update_killed_at_twenty_random_times_leaves_a_working_model(killer):
    kill_at_random_times(killer, 20)


@pytest.mark.slow
def test_update_killed_at_a_hundred_random_times_leaves_a_working_model(killer):
    kill_at_random_times(killer, 100)


def test_files_reach_the_disk_before_they_are_renamed(device, tmp_path):
    """A power cut loses data that is only in the page cache: fsync must precede each rename."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace: apt install strace")
    trace = tmp_path / "trace"
    calls = "rename,renameat,renameat2,fsync,fdatasync"
    command = [sys.executable, "-m", "runtime.update", device.new, "--model", device.target]
    done = subprocess.run(
        ["strace", "-y", "-o", trace, "-e", f"trace={calls}", *command],
        capture_output=True,
        text=True,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("strace is not permitted to trace here: run as root")
    assert done.returncode == 0, done.stderr
    steps = [line for line in trace.read_text().splitlines() if "= 0" in line]
    names = [re.findall(r'"([^"]+)"|<([^>]+)>', step) for step in steps]
    calls = [step.partition("(")[0] for step in steps]
    paths = [[quoted or descriptor for quoted, descriptor in step] for step in names]
    renames = [i for i, call in enumerate(calls) if call.startswith("rename")]
    version = f"{device.target}.version"
    expected = [version, str(previous(device.target)), str(device.target)]
    assert [paths[i][1] for i in renames] == expected
    for i in renames:
        assert (calls[i - 1], paths[i - 1]) == ("fsync", paths[i][:1])
        assert (calls[i + 1], paths[i + 1]) == ("fsync", [str(device.target.parent)])


@pytest.mark.parametrize("can_exchange", [True, False])
def test_back_killed_at_each_step_loses_neither_model(device, monkeypatch, can_exchange):
    """The self-test is left out, because it changes no file and would be run at each step."""
    monkeypatch.setattr(update_run, "_run_selftest", lambda opened: None)
    if not can_exchange:
        monkeypatch.setattr(update_run, "exchange", lambda first, second: False)
    kept = previous(device.target)

    def prepare() -> None:
        for path in device.target.parent.glob("*model.*"):
            path.unlink()
        shutil.copy(OLD.path, device.target)
        shutil.copy(NEW.path, kept)

    def digests() -> set[str]:
        return {artifact.read(path).spec.digest for path in (device.target, kept)}

    def check(step: int) -> None:
        if can_exchange:
            assert len(digests()) == 2, f"a model is lost at step {step}"
        before = artifact.read(device.target).spec.digest
        rollback(device.target)
        assert len(digests()) == 2, f"a model is lost at step {step}"
        assert artifact.read(device.target).spec.digest != before
        assert device.holds(artifact.read(device.target), artifact.read(kept))

    kills = kill_at_each_step(prepare, lambda: rollback(device.target), check, update_run)
    assert kills > 20


def test_update_killed_at_each_step_leaves_the_old_model_or_the_new_one(device, monkeypatch):
    monkeypatch.setattr(update_run, "_run_selftest", lambda opened: None)
    folder = device.target.parent

    def prepare() -> None:
        for path in folder.iterdir():
            if path.is_file():
                path.unlink()
        shutil.copy(OLD.path, device.target)

    def check(step: int) -> None:
        assert artifact.read(device.target).data in (OLD.data, NEW.data), step
        update(str(device.new), device.target, None)
        assert artifact.read(device.target).data == NEW.data
        assert not list(folder.glob(".*")), f"step {step} leaves a file behind"

    def replace() -> None:
        update(str(device.new), device.target, None)

    assert kill_at_each_step(prepare, replace, check, update_run) > 40


@pytest.mark.parametrize("umask", ["077", "027", "022"])
@pytest.mark.parametrize("mode", [0o644, 0o664, 0o600])
def test_updated_model_keeps_mode_and_owner(device, umask, mode):
    device.target.chmod(mode)
    if os.geteuid() == 0:
        os.chown(device.target, 12345, 23456)
    before = device.target.stat()
    shell = ["sh", "-c", f'umask {umask}; exec "$@"', "sh", sys.executable, "-m", "runtime.update"]
    done = subprocess.run([*shell, device.new, "--model", device.target], capture_output=True)
    assert done.returncode == 0
    for path in (device.target, previous(device.target)):
        after = path.stat()
        assert (after.st_mode, after.st_uid, after.st_gid) == (
            before.st_mode,
            before.st_uid,
            before.st_gid,
        )
