"""python -m runtime.update: what is trusted and right takes its place, at every moment whole."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import runtime
from runtime.errors import EdgeError
from runtime.model import artifact
from runtime.reload import previous
from runtime.signing import SignatureError, make_key, sign
from runtime.update.run import SelfTestFailed, update

pytest.importorskip("cryptography", reason='needs cryptography: pip install "digit-edge[update]"')
PRETRAINED = Path(runtime.__file__).parent / "pretrained"
OLD, NEW = (artifact.read(PRETRAINED / name) for name in ("digits-int8.tflite", "digits.tflite"))


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


@pytest.mark.parametrize("option", [["--keys", "keys"], ["--allow-unsigned"]])
def test_back_takes_no_option_of_a_new_model(device, option):
    done = run("--back", "--into", device.target, *option)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: --back checks no signature")


def test_a_folders_one_model_with_one_before_it_can_go_back(device):
    folder = device.target.parent
    update(str(device.new), device.target, None)
    shutil.copy(device.old, folder / "another.tflite")
    done = run("--back", cwd=folder.parent)  # whose default is the folder `models`
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "another.tflite").unlink()
    assert device.holds(OLD, kept=NEW)
    for name in ("another.tflite", "another.previous.tflite"):
        shutil.copy(device.old, folder / name)
    done = run("--back", "--into", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: --back: which model of {folder}? ")
    assert "another.tflite, model.tflite; give --into FILE" in done.stderr


def test_a_folder_takes_the_model_under_its_own_name(device):
    folder = device.target.parent
    update(str(device.new), folder, None)
    assert artifact.read(folder / "new.tflite").spec.digest == NEW.spec.digest
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
    with pytest.raises(SignatureError, match="trusted") as caught:
        update(str(device.new), device.target, None, allow_unsigned=unsigned)
    assert str(device.new) in str(caught.value)
    assert device.holds(OLD)


def test_a_model_changed_after_it_was_signed_is_refused(device, plant):
    def more(scores):
        return scores + 1 / 512

    plant(device.new, "digits.tflite", scores=more)  # its own digest is right
    with pytest.raises(SignatureError):
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
    with pytest.raises(EdgeError, match=f"{bad} is not "):
        update(str(device.new), device.target, None)
    assert device.holds(OLD)


def test_a_model_that_fails_here_never_takes_the_place(device, plant, maker):
    plant(device.new, "digits.tflite", scores=lambda scores: scores[:, ::-1].copy())
    sign(device.new, maker)
    done = run(device.new, "--into", device.target)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(
        f"error: 1 thread, batches of 1, 2 and 8: the scores of {device.new}"
    )
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
    with pytest.raises(SelfTestFailed, match="is damaged.*the model before is back in its place"):
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
        (["http://[x/m.tflite"], "error: http://[x/m.tflite is no address"),
        (["http://a..b/m.tflite"], "error: cannot fetch http://a..b/m.tflite: it is no address"),
        (["http://127.0.0.1:9/ü.tflite"], "error: cannot fetch http://127.0.0.1:9/ü.tflite: it is"),
        (["--back"], "error: --back: which model of models? "),
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


def test_a_running_program_takes_the_new_model_up(device):
    program = (
        "import sys, time\n"
        "from runtime.reload import ReloadingClassifier\n"
        "model = ReloadingClassifier(sys.argv[1])\n"
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
