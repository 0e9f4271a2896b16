"""Test the runtime, installed from its wheel, on every emulated system, processor and engine."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from deploy.emulation import roots
from deploy.emulation.installed import python, with_engines
from deploy.emulation.user import output
from deploy.systems import SYSTEMS, System
from deploy.wheels import CHECKOUT
from runtime.backends import ENGINES
from runtime.errors import EdgeError

GUEST = CHECKOUT / "deploy/emulation/guest"
# Every combination of system, engine and processor.
CASES = [
    (system, engine, cpu) for system in SYSTEMS for engine in system.engines for cpu in system.cpus
]
# Largest allowed difference of a float32 score between a Pi and this machine. int8 scores must be
# equal.
MAX_FLOAT_DIFFERENCE = 1e-5
Scores = dict[str, npt.NDArray[np.float32]]  # file name of an artifact → its scores


def case_name(case: tuple[System, str, str]) -> str:
    system, engine, cpu = case
    return f"{system.name}-{engine}-{cpu}"


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with images.npy: 1,000 of scikit-learn's digits in MNIST's form."""
    from train.data.load import sklearn_digits

    folder = tmp_path_factory.mktemp("images")
    np.save(folder / "images.npy", sklearn_digits().train.pixels[:1000])
    return folder


@pytest.fixture(scope="session")
def scores_here(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scores]:
    """Scores of each engine on this machine, computed by the same wheel."""
    (wheel,) = (roots.CACHE / "project").glob("digit_edge-*.whl")
    unpacked = tmp_path_factory.mktemp("wheel")
    zipfile.ZipFile(wheel).extractall(unpacked)
    pythons = dict.fromkeys(("litert", "onnx", "native"), sys.executable)
    # tflite-runtime needs NumPy 1 and Python 3.11 or older, and so an environment of its own.
    pythons["tflite"] = str(CHECKOUT / ".venv-tflite/bin/python")
    scores = {}
    for engine, interpreter in pythons.items():
        folder = tmp_path_factory.mktemp(engine)
        done = subprocess.run(
            [interpreter, GUEST / "scores.py", engine, images / "images.npy", folder],
            env={"PYTHONPATH": str(unpacked)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 or "tflite_runtime is not installed" in done.stderr, done.stderr
        scores[engine] = {file.stem: np.load(file) for file in folder.glob("*.npy")}
    return scores


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_scores_equal_those_of_this_machine(
    case: tuple[System, str, str],
    card: Path,
    images: Path,
    scores_here: dict[str, Scores],
    tmp_path: Path,
) -> None:
    """Each processor of a system gets a share of the 1,000 images."""
    system, engine, cpu = case
    share = slice(system.cpus.index(cpu), None, len(system.cpus))
    np.save(tmp_path / "images.npy", np.load(images / "images.npy")[share])
    pi = with_engines(
        system, cpu, card, {tmp_path / "images.npy": "/srv/images.npy", GUEST: "/srv/guest"}
    )
    output(pi.run(python(engine), "/srv/guest/scores.py", engine, "/srv/images.npy", "scores"))
    expected = scores_here[engine]
    if not expected:
        pytest.skip(f"{engine} is not in .venv-{engine}: make test, with Python 3.10 or 3.11")
    on_pi = {file.stem: np.load(file) for file in (card / "up/home/pi/scores").glob("*.npy")}
    assert on_pi.keys() == expected.keys()
    assert len(on_pi) == (1 if engine == "native" else 2)
    for artifact, scores in on_pi.items():
        here = expected[artifact][share]
        np.testing.assert_array_equal(scores.argmax(1), here.argmax(1))
        if "int8" in artifact:
            np.testing.assert_array_equal(scores, here)
        else:
            assert np.abs(scores - here).max() <= MAX_FLOAT_DIFFERENCE


def test_conformance_suite_passes_with_all_engines_in_one_python(
    system: System, card: Path
) -> None:
    """All engines of a system are imported in one process; other tests run each engine alone."""
    engines = CHECKOUT / "tests/engines"
    cpu = system.cpus[len(system.cpus) // 2]
    pi = with_engines(system, cpu, card, {engines: "/srv/tests/engines"})
    packages = f"env/lib/python{system.python}/site-packages"
    paths = ["/srv/pytest", *(f"/home/pi/{engine}/{packages}" for engine in system.engines[1:])]
    printed = output(
        pi.run(
            python(system.engines[0]),
            *("-m", "pytest", "-v", "-p", "no:cacheprovider", "-W", "error"),
            "/srv/tests/engines",
            environment={"PYTHONPATH": ":".join(paths)},
            folder="/tmp",
        )
    )
    assert " passed" in printed
    assert "failed" not in printed
    names = [engine.name for engine in ENGINES if engine.extra in system.engines]
    assert all(f"[{name}-digits" in printed for name in names)


def test_command_classifies_the_examples(system: System, card: Path) -> None:
    """The first engine of a system runs here; `deploy.emulation.table` measures all engines."""
    pi = with_engines(system, system.cpus[-1], card, {CHECKOUT / "examples": "/srv/examples"})
    pictures = [f"/srv/examples/{file}" for file in ("photo.jpg", "scan.png", "screen.png")]
    command = (python(system.engines[0]), "-m", "digit_edge", "classify", "--json", *pictures)
    printed = output(pi.run(*command))
    assert [json.loads(line)["label"] for line in printed.splitlines()] == ["7", "5", "3"]


def test_endless_command_is_killed_and_named(card: Path) -> None:
    pi = with_engines(SYSTEMS[1], "cortex-a53", card)
    expected = "on cortex-a53: did not end within 10 s; last line of its output: started"
    with pytest.raises(EdgeError, match=expected):
        pi.run("sh", "-c", "echo started; sleep 600", timeout_s=10)
