"""install-pi.sh: what it finds out and refuses. That it installs is tested by `make pi`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALLER = Path(__file__).parents[2] / "deploy/install-pi.sh"
# A Python that says of itself what the test wants, and imports what the test lets it.
PYTHON = """#!/bin/sh
case $2 in
  *calcsize*) echo "$FACTS" ;;
  "import "*) case " $MODULES " in *" ${2#import } "*) exit 0 ;; *) exit 1 ;; esac ;;
esac
"""


@pytest.fixture
def plan(tmp_path):
    """Ask for the plan of a machine: `uname -m`, the interpreter's facts, what it can import."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in {"uname": "#!/bin/sh\necho $MACHINE\n", "python3": PYTHON}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)

    def ask(machine: str, facts: str, *options: str, modules: str = ""):
        own = {"MACHINE": machine, "FACTS": facts, "MODULES": modules, "HOME": str(tmp_path)}
        path = {"PATH": f"{tools}:{os.environ['PATH']}"}
        return run("--plan", *options, environment=os.environ | own | path)

    return ask


def run(*options: str, environment=None):
    return subprocess.run(
        ["sh", INSTALLER, *options], capture_output=True, text=True, env=environment
    )


BOTH = "numpy PIL"


@pytest.mark.parametrize(
    ("machine", "facts", "modules", "engine"),
    [
        ("aarch64", "64 3 11 glibc cpython", "", "litert (ai-edge-litert>=2.1)"),
        ("aarch64", "64 3 13 glibc cpython", "", "litert (ai-edge-litert>=2.1)"),
        ("x86_64", "64 3 10 glibc cpython", "", "litert (ai-edge-litert>=2.1)"),
        ("armv7l", "32 3 11 glibc cpython", BOTH, "tflite (tflite-runtime>=2.14)"),
        # A 64-bit kernel runs 32-bit systems: the interpreter decides.
        ("aarch64", "32 3 11 glibc cpython", BOTH, "tflite (tflite-runtime>=2.14)"),
        ("aarch64", "32 3 13 glibc cpython", f"{BOTH} onnxruntime", "onnx"),
    ],
)
def test_the_engine_that_exists_is_chosen(plan, machine, facts, modules, engine):
    done = plan(machine, facts, modules=modules)
    assert done.returncode == 0, done.stderr
    assert f"engine:  {engine}\n" in done.stdout


@pytest.mark.parametrize(
    ("machine", "facts", "modules", "options", "remedy"),
    [
        ("armv6l", "32 3 11 glibc cpython", BOTH, [], "ARMv6"),
        ("riscv64", "64 3 13 glibc cpython", "", [], "no engine is built for riscv64"),
        ("x86_64", "32 3 11 glibc cpython", "", [], "32-bit x86"),
        ("aarch64", "64 3 12 none cpython", "", [], "glibc"),
        ("aarch64", "64 3 11 glibc pypy", "", [], "CPython"),
        ("aarch64", "64 3 9 glibc cpython", "", [], "3.10 to 3.13"),
        ("aarch64", "64 3 14 glibc cpython", "", [], "3.10 to 3.13"),
        ("armv7l", "32 3 11 glibc cpython", "numpy", [], "apt install python3-numpy python3-pil"),
        ("armv7l", "32 3 13 glibc cpython", BOTH, [], "apt install python3-onnxruntime"),
        ("armv7l", "32 3 11 glibc cpython", BOTH, ["--engine", "litert"], "no 32-bit wheel"),
        (
            "armv7l",
            "32 3 11 glibc cpython",
            BOTH,
            ["--engine", "onnx"],
            "name another with --engine",
        ),
        ("aarch64", "64 3 13 glibc cpython", "", ["--engine", "tflite"], "ends with Python 3.11"),
        ("aarch64", "64 3 13 glibc cpython", "", ["--engine", "magic"], "choose litert"),
    ],
)
def test_where_no_engine_exists_it_says_so(plan, machine, facts, modules, options, remedy):
    done = plan(machine, facts, *options, modules=modules)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert remedy in done.stderr


def test_an_upgrade_keeps_the_extras(plan, tmp_path):
    folder = tmp_path / "digit-edge"
    folder.mkdir()
    (folder / ".digit-edge").write_text("made by install-pi.sh\nextras: mqtt serve\n")
    machine = ("aarch64", "64 3 13 glibc cpython")
    assert "extras:  mqtt serve\n" in plan(*machine).stdout
    added = plan(*machine, "--extra", "update", "--service", "serve").stdout
    assert "extras:  mqtt serve update\n" in added


def test_an_upgrade_keeps_the_engine_that_was_named(plan, tmp_path):
    folder = tmp_path / "digit-edge"
    folder.mkdir()
    mark, machine = folder / ".digit-edge", ("aarch64", "64 3 13 glibc cpython")
    for line, engine in (("engine: onnx\n", "onnx"), ("engine: \n", "litert"), ("", "litert")):
        mark.write_text(f"made by install-pi.sh\nextras: mqtt\n{line}")
        assert f"engine:  {engine} (" in plan(*machine).stdout
    mark.write_text("made by install-pi.sh\nextras:\nengine: onnx\n")
    assert "engine:  litert (" in plan(*machine, "--engine", "litert").stdout


def test_what_an_extra_needs_of_debian_is_said_before_anything_is_made(plan, tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    machine, offline = ("aarch64", "64 3 13 glibc cpython"), ("--wheels", str(wheels))
    for extra, module, package in (
        ("vision", "cv2", "python3-opencv"),
        ("update", "cryptography", "python3-cryptography"),
    ):
        asked = (*machine, "--extra", extra, *offline)
        done = plan(*asked)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert f"sudo apt install {package}\n" in done.stderr
        assert plan(*asked, modules=module).returncode == 0
    # With the network, or the wheel, pip has it.
    assert plan(*machine, "--extra", "update").returncode == 0
    assert (
        plan("armv7l", "32 3 11 glibc cpython", "--extra", "update", modules=BOTH).returncode == 2
    )
    (wheels / "cryptography-48-cp313-abi3-linux.whl").touch()
    assert plan(*machine, "--extra", "update", *offline).returncode == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--dir"], "takes a value"),
        (["--fast"], "no option --fast"),
        (["--service", "coffee"], "choose watch, camera or serve"),
        (["--extra", "coffee"], "choose mqtt, serve, update or vision"),
        (["--folder", "inbox"], "give --service watch too"),
        (["--python", "no-such-python", "--plan"], "apt install python3"),
    ],
)
def test_bad_usage_is_refused_in_a_line(options, reason):
    done = run(*options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert reason in done.stderr


def test_the_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for options in (["--uninstall"], []):
        done = run(*options, "--dir", str(tmp_path), environment=os.environ | no_units(tmp_path))
        assert done.returncode == 2, done.stdout
        assert "error: " in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_what_is_in_the_inbox_survives_the_uninstallation(tmp_path):
    folder = tmp_path / "digit-edge"
    (folder / "inbox").mkdir(parents=True)
    (folder / "env-1").mkdir()
    (folder / ".digit-edge").touch()
    (folder / "inbox/photo.jpg").touch()
    done = run("--uninstall", "--dir", str(folder), environment=os.environ | no_units(tmp_path))
    assert done.returncode == 0
    assert "holds files of yours" in done.stdout
    assert sorted(folder.rglob("*")) == [folder / "inbox", folder / "inbox/photo.jpg"]


def test_a_folder_that_is_gone_is_not_said_to_be_kept(tmp_path):
    folder = tmp_path / "digit-edge"
    folder.mkdir()
    (folder / ".digit-edge").touch()
    done = run("--uninstall", "--dir", str(folder), environment=os.environ | no_units(tmp_path))
    assert (done.returncode, done.stdout) == (0, "digit-edge is uninstalled.\n")
    assert not folder.exists()


def test_shellcheck_finds_nothing():
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck here: apt install shellcheck")
    done = subprocess.run(["shellcheck", INSTALLER], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def no_units(tmp_path: Path) -> dict[str, str]:
    """The variable that keeps the installer off this machine's services."""
    return {"DIGIT_EDGE_UNITS": str(tmp_path / "units")}
