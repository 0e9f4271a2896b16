"""python -m runtime.update: what is trusted and right takes its place, at every moment whole."""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import runtime
from runtime import Classifier, artefact
from runtime.errors import EdgeError
from runtime.reload import previous
from runtime.signing import Untrusted, make_key, sign
from runtime.update import Failed, update

pytest.importorskip("cryptography", reason='needs cryptography: pip install "digit-edge[update]"')
PRETRAINED = Path(runtime.__file__).parent / "pretrained"
OLD, NEW = (artefact.read(PRETRAINED / name) for name in ("digits-int8.tflite", "digits.tflite"))


@pytest.fixture(scope="session")
def maker(tmp_path_factory) -> Path:
    """A private key; its public half lies beside it."""
    return make_key(tmp_path_factory.mktemp("keys") / "maker")[0]


class Device:
    """A model in use, the keys it trusts, and signed models that could take its place."""

    def __init__(self, folder: Path, maker: Path) -> None:
        self.target = folder / "models" / "model.tflite"
        (folder / "models" / "keys").mkdir(parents=True)
        shutil.copy(maker.with_suffix(".pub"), folder / "models" / "keys")
        shutil.copy(OLD.path, self.target)
        self.old, self.new = folder / "old.tflite", folder / "new.tflite"
        for path, model in ((self.old, OLD), (self.new, NEW)):
            shutil.copy(model.path, path)
            sign(path, maker)

    def holds(self, model: artefact.Artefact, kept: artefact.Artefact | None = None) -> bool:
        """Whether `model` is in the place and `kept` beside it, and nothing else is left."""
        kept_digest = artefact.read(previous(self.target)).spec.digest if kept else None
        expected = {"keys", self.target.name} | ({previous(self.target).name} if kept else set())
        return (
            artefact.read(self.target).spec.digest == model.spec.digest
            and (kept is None or kept_digest == kept.spec.digest)
            and set(os.listdir(self.target.parent)) == expected
        )


@pytest.fixture
def device(tmp_path, maker) -> Device:
    return Device(tmp_path, maker)


def run(*arguments, **options):
    command = [sys.executable, "-m", "runtime.update", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_a_signed_model_takes_its_place_and_the_old_one_is_kept(device):
    done = run(device.new, "--into", device.target)
    assert (done.returncode, done.stderr) == (0, "")
    assert "signed by maker.pub" in done.stdout
    assert device.holds(NEW, kept=OLD)
    assert "is this model already" in run(device.new, "--into", device.target).stdout
    assert device.holds(NEW, kept=OLD)
    done = run("--back", "--into", device.target)
    assert (done.returncode, done.stderr) == (0, "")
    assert device.holds(OLD, kept=NEW)


def test_a_folder_takes_the_model_under_its_own_name(device):
    folder = device.target.parent
    update(str(device.new), folder, None)
    assert artefact.read(folder / "new.tflite").spec.digest == NEW.spec.digest
    assert not previous(folder / "new.tflite").exists()


def test_what_is_not_signed_is_refused_unless_that_is_asked_for(device):
    device.new.with_name("new.tflite.sig").unlink()
    done = run(device.new, "--into", device.target)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: {device.new} is not signed")
    assert device.holds(OLD)
    done = run(device.new, "--into", device.target, "--allow-unsigned")
    assert done.returncode == 0
    assert device.holds(NEW, kept=OLD)


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("fault", ["another key", "another model", "cut", "no key trusted"])
def test_a_wrong_signature_is_refused_always(device, tmp_path, fault, unsigned):
    signature = device.new.with_name("new.tflite.sig")
    if fault == "another key":
        sign(device.new, make_key(tmp_path / "stranger")[0])
    elif fault == "another model":
        shutil.copy(device.old.with_name("old.tflite.sig"), signature)
    elif fault == "cut":
        signature.write_bytes(signature.read_bytes()[:63])
    else:
        (device.target.parent / "keys" / "maker.pub").unlink()
    with pytest.raises(Untrusted, match="trusted") as caught:
        update(str(device.new), device.target, None, allow_unsigned=unsigned)
    assert str(device.new) in str(caught.value)
    assert device.holds(OLD)


def test_a_model_changed_after_it_was_signed_is_refused(device, plant):
    def more(scores):
        return scores + 1 / 512

    plant(device.new, "digits.tflite", scores=more)  # its own digest is right
    with pytest.raises(Untrusted):
        update(str(device.new), device.target, None)
    assert device.holds(OLD)


def test_one_of_several_trusted_keys_is_enough_and_a_folder_can_be_named(device, tmp_path, maker):
    for name in ("a", "z"):
        make_key(tmp_path / "trusted" / name)
    shutil.copy(maker.with_suffix(".pub"), tmp_path / "trusted")
    assert "maker.pub" in update(str(device.new), device.target, tmp_path / "trusted")[0]
    assert device.holds(NEW, kept=OLD)


@pytest.mark.parametrize("text", ["not a key", "rsa"])
def test_a_key_that_is_none_is_named(device, text):
    bad = device.target.parent / "keys" / "bad.pub"
    if text == "rsa":
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        bad.write_bytes(key.public_bytes(serialization.Encoding.PEM, form))
    else:
        bad.write_text(text)
    with pytest.raises(EdgeError, match=f"{bad} is no "):
        update(str(device.new), device.target, None)
    assert device.holds(OLD)


def test_a_model_that_fails_here_never_takes_the_place(device, plant, maker):
    plant(device.new, "digits.tflite", scores=lambda scores: scores[:, ::-1].copy())
    sign(device.new, maker)
    done = run(device.new, "--into", device.target)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: 1 thread, batches of 1, 2 and 8: {device.new} gives")
    assert len(done.stderr.splitlines()) == 1
    assert device.holds(OLD)


def test_a_model_that_fails_in_its_place_gives_it_back(device, monkeypatch):
    """A card that spoils what it is given: the file changes with the rename."""
    real = os.replace

    def spoil(source, place):
        real(source, place)
        if Path(place) == device.target and device.target.stat().st_size == len(NEW.data):
            with open(place, "r+b") as file:
                file.seek(1000)
                file.write(b"spoilt")

    monkeypatch.setattr(os, "replace", spoil)
    with pytest.raises(Failed, match="is damaged.*the model before is back in its place"):
        update(str(device.new), device.target, None)
    assert device.holds(OLD, kept=OLD)


def test_a_damaged_model_in_use_is_replaced_and_not_kept(device):
    update(str(device.new), device.target, None)
    device.target.write_bytes(b"rubbish")
    update(str(device.new), device.target, None)
    assert device.holds(NEW, kept=OLD)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.tflite"], "error: cannot read absent.tflite: No such file"),
        (["model.txt"], "error: model.txt is no model's name"),
        (["ftp://host/model.tflite"], "error: cannot read ftp://host/model.tflite: No such file"),
        (["{new}", "--into", "m.onnx"], "error: new.tflite cannot take the place of m.onnx"),
        (["{new}", "--into", "/proc/models"], "error: cannot write into /proc/models"),
        (["--back", "--into", "m.tflite"], "error: cannot read the model m.previous.tflite"),
        ([], "usage"),
        (["{new}", "--back"], "usage"),
    ],
)
def test_bad_usage_is_one_message_and_exit_2(device, tmp_path, arguments, message):
    done = run(*(word.format(new=device.new) for word in arguments), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert message == "usage" or len(done.stderr.splitlines()) == 1


def test_one_update_at_a_time(device):
    import fcntl

    folder = os.open(device.target.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(EdgeError, match="another update of .* is under way"):
        update(str(device.new), device.target, None)
    os.close(folder)
    update(str(device.new), device.target, None)


def mounted(device: Device, size: str, then: str = "true"):
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
        "from runtime.errors import exit_status\n"
        "from runtime import update, signing\n"
        "import cryptography.hazmat.primitives.serialization\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (8 << 20), -1))\n"
        "sys.exit(exit_status(lambda: update.main(sys.argv[1:])))\n"
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
from runtime import artefact, update
from runtime.reload import previous

target, *sources = map(Path, sys.argv[1:])

def digest(path):
    return artefact.read(path).spec.digest if path.exists() else None

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

    def __init__(self, device: Device) -> None:
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
        assert artefact.read(device.target).spec.digest == model.spec.digest
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


def test_a_running_program_takes_the_new_model_up(device):
    program = (
        "import sys, time\n"
        "from runtime.reload import Reloading\n"
        "model = Reloading(sys.argv[1])\n"
        "while True:\n"
        "    print(model.classifier.spec.digest, flush=True)\n"
        "    time.sleep(0.1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, device.target], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline().strip() == OLD.spec.digest
        update(str(device.new), device.target, None)
        end = time.monotonic() + 30
        while process.stdout.readline().strip() != NEW.spec.digest:
            assert time.monotonic() < end
        process.kill()
