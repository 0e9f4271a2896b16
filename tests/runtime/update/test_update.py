"""digit-edge update: installation, signatures, self-test, rollback and error messages."""

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
OLD = artifact.read(PRETRAINED / "digits-int8.tflite")  # the installed model
NEW = artifact.read(PRETRAINED / "digits.tflite")  # the model of the update


def run(*arguments, **options):
    command = [sys.executable, "-m", "runtime.update", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_signed_model_is_installed_and_the_old_one_kept(device):
    done = run(device.new, "--model", device.target)
    assert (done.returncode, done.stderr) == (0, "")
    assert "signed by maker.pub" in done.stdout
    assert device.holds(NEW, kept=OLD)


def test_installed_model_is_not_installed_again(device):
    update(str(device.new), device.target, None)
    assert "this model is already installed" in run(device.new, "--model", device.target).stdout
    assert device.holds(NEW, kept=OLD)


def test_back_swaps_the_model_with_the_previous_one(device):
    update(str(device.new), device.target, None)
    done = run("--back", "--model", device.target)
    assert (done.returncode, done.stderr) == (0, "")
    assert device.holds(OLD, kept=NEW)


@pytest.mark.parametrize("option", [["--keys", "keys"], ["--allow-unsigned"]])
def test_back_rejects_options_of_a_new_model(device, option):
    done = run("--back", "--model", device.target, *option)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: --back does not check signatures")


def test_back_finds_the_only_model_of_a_folder_with_a_previous_one(device):
    folder = device.target.parent
    update(str(device.new), device.target, None)
    shutil.copy(device.old, folder / "another.tflite")
    done = run("--back", cwd=folder.parent)  # the default of --model is the folder `models`
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "another.tflite").unlink()
    assert device.holds(OLD, kept=NEW)


def test_back_lists_the_models_if_several_have_a_previous_one(device):
    folder = device.target.parent
    update(str(device.new), device.target, None)
    for name in ("another.tflite", "another.previous.tflite"):
        shutil.copy(device.old, folder / name)
    done = run("--back", "--model", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: --back: which model of {folder}? ")
    assert "another.tflite, model.tflite; pass --model FILE" in done.stderr


def test_model_keeps_its_file_name_in_a_folder(device):
    folder = device.target.parent
    update(str(device.new), folder, None)
    assert artifact.read(folder / "new.tflite").spec.digest == NEW.spec.digest
    assert not previous(folder / "new.tflite").exists()


def test_unsigned_model_needs_allow_unsigned(device):
    device.new.with_name("new.tflite.sig").unlink()
    done = run(device.new, "--model", device.target)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: {device.new} is not signed")
    assert device.holds(OLD)
    done = run(device.new, "--model", device.target, "--allow-unsigned")
    assert done.returncode == 0
    assert device.holds(NEW, kept=OLD)


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("fault", ["another key", "another model", "cut", "no key trusted"])
def test_invalid_signature_is_rejected_even_with_allow_unsigned(device, tmp_path, fault, unsigned):
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


def test_model_changed_after_signing_is_rejected(device, plant):
    def shift(scores):
        return scores + 1 / 512

    plant(device.new, "digits.tflite", scores=shift)  # with a valid digest
    with pytest.raises(SignatureError):
        update(str(device.new), device.target, None)
    assert device.holds(OLD)


def test_any_trusted_key_in_the_given_folder_is_enough(device, tmp_path, maker):
    for name in ("a", "z"):
        make_key(tmp_path / "trusted" / name)
    shutil.copy(maker.with_suffix(".pub"), tmp_path / "trusted")
    assert "maker.pub" in update(str(device.new), device.target, tmp_path / "trusted")[0]
    assert device.holds(NEW, kept=OLD)


@pytest.mark.parametrize("text", ["not a key", "rsa"])
def test_invalid_key_is_named(device, text):
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


def test_model_that_fails_its_self_test_is_not_installed(device, plant, maker):
    plant(device.new, "digits.tflite", scores=lambda scores: scores[:, ::-1].copy())
    sign(device.new, maker)
    done = run(device.new, "--model", device.target)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(
        f"error: 1 thread, batches of 1, 2 and 8: the scores of {device.new}"
    )
    assert len(done.stderr.splitlines()) == 1
    assert device.holds(OLD)


def test_model_damaged_by_its_installation_is_rolled_back(device, monkeypatch):
    """A broken memory card: the file is damaged when it is renamed."""
    real = os.replace

    def damage(source, target):
        real(source, target)
        if Path(target) == device.target and device.target.stat().st_size == len(NEW.data):
            with open(target, "r+b") as file:
                file.seek(1000)
                file.write(b"damage")

    monkeypatch.setattr(os, "replace", damage)
    with pytest.raises(SelfTestFailed, match=r"is damaged.*the previous model is installed again"):
        update(str(device.new), device.target, None)
    assert device.holds(OLD, kept=OLD)


def test_damaged_installed_model_is_replaced_but_not_kept(device):
    update(str(device.new), device.target, None)
    device.target.write_bytes(b"rubbish")
    update(str(device.new), device.target, None)
    assert device.holds(NEW, kept=OLD)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.tflite"], "error: cannot read absent.tflite: No such file"),
        (["model.txt"], "error: model.txt is not a model"),
        (["ftp://host/model.tflite"], "error: cannot read ftp://host/model.tflite: No such file"),
        (["http://[x/m.tflite"], "error: http://[x/m.tflite: invalid URL"),
        (["http://a..b/m.tflite"], "error: cannot download http://a..b/m.tflite: invalid URL"),
        (
            ["http://127.0.0.1:9/ü.tflite"],
            "error: cannot download http://127.0.0.1:9/ü.tflite: invalid",
        ),
        (["--back"], "error: --back: no model in models has a previous one; pass --model "),
        (["{new}", "--model", "m.onnx"], "error: new.tflite cannot replace m.onnx"),
        (["{new}", "--model", "/proc/models"], "error: cannot write into /proc/models"),
        (["--back", "--model", "m.tflite"], "error: cannot read the model m.previous.tflite"),
        ([], "usage"),
        (["{new}", "--back"], "usage"),
    ],
)
def test_invalid_arguments_give_one_message_and_exit_status_2(device, tmp_path, arguments, message):
    done = run(*(word.format(new=device.new) for word in arguments), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert message == "usage" or len(done.stderr.splitlines()) == 1


def test_damaged_model_is_named_as_on_the_command_line(device, tmp_path):
    (tmp_path / "text.tflite").write_text("no model")
    done = run("text.tflite", "--allow-unsigned", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: text.tflite is not a .tflite model; copy or export it again\n"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("absent.key", "error: cannot read the key absent.key: No such file or directory; check"),
        ("text.key", "error: text.key is not a private key in PEM without a password: pass the "),
    ],
)
def test_wrong_key_is_one_line_with_a_remedy(device, tmp_path, key, message):
    (tmp_path / "text.key").write_text("no key")
    done = subprocess.run(
        [sys.executable, "-m", "runtime.signing", "sign", key, device.new],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert "cryptography.io" not in done.stderr


def test_second_update_at_the_same_time_is_rejected(device):
    import fcntl

    folder = os.open(device.target.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(EdgeError, match=r"another update of .* is running"):
        update(str(device.new), device.target, None)
    os.close(folder)
    update(str(device.new), device.target, None)


def test_running_program_reloads_the_new_model(popen, device):
    program = (
        "import sys, time\n"
        "from runtime.reload import ReloadingClassifier\n"
        "model = ReloadingClassifier(sys.argv[1])\n"
        "while True:\n"
        "    print(model.classifier.spec.digest, flush=True)\n"
        "    time.sleep(0.1)\n"
    )
    process = popen(
        [sys.executable, "-c", program, device.target], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().strip() == OLD.spec.digest
    update(str(device.new), device.target, None)
    end = time.monotonic() + 30
    while process.stdout.readline().strip() != NEW.spec.digest:
        assert time.monotonic() < end
