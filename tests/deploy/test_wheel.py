"""The wheel: one package, digit_edge, and one command, digit-edge."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/photo.jpg"
PRETRAINED = ROOT / "runtime/pretrained"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel from a copy of the sources that it is made of."""
    from deploy import wheels

    return wheels.project(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def environment(wheel, tmp_path_factory) -> Path:
    """Install the wheel into a virtual environment, which also sees the test's dependencies."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # Only the paths: the checkout's own editable install is not activated.
    paths = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(paths))
    return folder


@pytest.fixture
def run(environment, tmp_path):
    """Run a program of the environment in a folder that has modules with our and NumPy's names."""
    for name in ("train.py", "numpy.py", "runpy.py"):
        (tmp_path / name).write_text("raise SystemExit('not ours')")
    for name in ("runtime", "export", "benchmarks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not ours')")

    def run(program: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            [environment / "bin" / program, *map(str, arguments)],
            cwd=tmp_path, env=clean | variables, capture_output=True, text=True,
        )  # fmt: skip

    return run


def test_wheel_installs_one_top_level_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"digit_edge"}


def test_wheel_is_typed_and_carries_the_published_artifacts(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "digit_edge/py.typed" in names
    assert "digit_edge/runtime/pretrained/digits-int8.tflite" in names


def test_no_module_of_the_wheel_imports_a_top_level_package_of_ours(wheel):
    import ast

    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.endswith(".py"):
                continue
            for node in ast.walk(ast.parse(archive.read(name))):
                imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if isinstance(node, ast.Import):
                    imported = [alias.name for alias in node.names]
                for module in imported:
                    ours = {"runtime", "train", "export", "benchmarks", "deploy"}
                    assert module.partition(".")[0] not in ours, f"{name} imports {module}"


def test_version_is_printed(run):
    import runtime

    done = run("digit-edge", "--version")
    assert (done.returncode, done.stdout) == (0, f"digit-edge {runtime.__version__}\n")


def test_image_is_classified_beside_a_folder_named_runtime(run):
    done = run("digit-edge", "classify", EXAMPLE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{EXAMPLE}: 7 ")


def test_processes_of_a_command_import_nothing_from_the_working_directory(run, tmp_path):
    """Many images are classified by worker processes."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(2000):
        os.link(EXAMPLE.with_name("screen.png"), folder / f"{number}.png")
    done = run("digit-edge", "classify", "--jobs", 2, folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(": 3 ") == 2000


def test_server_runs_beside_a_folder_named_runtime(environment, run, tmp_path):
    """`run` has made the folder. The worker process opens the model before the address appears."""
    command = [environment / "bin/digit-edge", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert re.search(r"http://\S+:\d+/$", server.stdout.readline().strip())
        finally:
            server.terminate()


def test_selftest_and_update_run_beside_a_folder_named_runtime(run, tmp_path):
    assert run("digit-edge", "selftest").stdout.endswith("PASS\n")
    model = PRETRAINED / "digits-int8.tflite"
    done = run("digit-edge", "update", model, "--into", "device", "--allow-unsigned")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("self-test passed, installed\n")


def test_subprocesses_of_benchmarks_run_beside_a_folder_named_benchmarks(run):
    program = f"""
import sys
sys.path.remove("")
from pathlib import Path
from digit_edge.benchmarks.latency import folder_throughput
from digit_edge.benchmarks.harness.cases import BenchmarkCase
from digit_edge.benchmarks.schema.latency import Settings
case = BenchmarkCase("digits-int8.tflite", "litert", "cpu", 1)
settings = Settings(repetitions=1, images=10)
results, failed = folder_throughput.measure(Path({str(PRETRAINED)!r}), [case], settings)
print(len(results), failed)
"""
    done = run("python", "-c", program)
    assert done.stdout == "1 []\n", done.stderr


def test_library_is_imported_as_digit_edge(run):
    program = f"""
import sys
sys.path.remove("")
import digit_edge
from digit_edge import Classifier, ImageError
print(Classifier.load().classify({str(EXAMPLE)!r}).label, digit_edge.__version__)
try:
    Classifier.load().classify(b"no image")
except ImageError:
    print("ImageError")
"""
    done = run("python", "-c", program)
    assert done.stderr == ""
    assert done.stdout.split()[0] == "7"
    assert done.stdout.endswith("ImageError\n")


def test_help_lists_every_command_with_a_summary(run):
    done = run("digit-edge", "--help")
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line[:2] == "  ")
    assert {"classify", "read", "watch", "camera", "serve", "selftest", "update", "sign"} <= set(
        lines
    )
    assert {"train", "export", "benchmark"} <= set(lines)
    assert all(10 < len(summary) <= 60 for summary in lines.values())


def test_help_lists_the_commands_by_package(run):
    done = run("digit-edge", "--help")
    names = [line.split()[0] for line in done.stdout.splitlines() if line[:2] == "  "]
    runtime = ["bulk", "camera", "classify", "read", "selftest", "serve", "sign", "update", "watch"]
    training = [f"train{name}" for name in ("", "-folds", "-lines", "-sweep", "-throughput")]
    export = [f"export{name}" for name in ("", "-c", "-card", "-onnx", "-spec", "-tflite", "-web")]
    known = [*runtime, *training, *export]
    assert names[: len(known)] == known
    assert all(name.startswith("benchmark") for name in names[len(known) :])


def test_unknown_command_is_a_usage_error_of_one_line(run):
    done = run("digit-edge", "clasify")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no command clasify: choose one of ")
    assert done.stderr.count("\n") == 1


def test_no_command_prints_the_usage_and_fails(run):
    done = run("digit-edge")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: digit-edge ")


def test_another_package_registers_a_command(run, environment):
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "shout.py").write_text('"""Shout."""\nimport sys\nprint(*sys.argv[1:], "!")\n')
    (site / "shout-1.dist-info").mkdir()
    (site / "shout-1.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: shout\nVersion: 1\n"
    )
    (site / "shout-1.dist-info/entry_points.txt").write_text(
        "[digit_edge.commands]\nshout = shout\n"
    )
    assert run("digit-edge", "shout", "7").stdout == "7 !\n"


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("digit-edge cla", "classify"),
        ("digit-edge watch --exis", "--existing"),
        ("digit-edge selftest --mo", "--model"),
        ("digit-edge classify --backend onnxr", "onnxruntime"),
        ("digit-edge benchmark-parity --mo", "--model"),  # and not the former --models
        ("digit-edge sign ke", "key"),
    ],
)
def test_shell_completes_commands_and_options(run, tmp_path, line, completed):
    pytest.importorskip("argcomplete")
    words = tmp_path / "words"
    run(
        "digit-edge",
        _ARGCOMPLETE="1",
        _ARGCOMPLETE_STDOUT_FILENAME=str(words),
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
    )
    assert words.read_text().split() == [completed]
