"""The runtime, installed from its wheel, on every system, processor and engine."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from deploy.emulation import roots
from deploy.emulation.installed import python, with_engines
from deploy.emulation.user import output
from deploy.systems import SYSTEMS
from deploy.wheels import CHECKOUT
from runtime.backends import ENGINES

GUEST = CHECKOUT / "deploy/emulation/guest"
EVERYWHERE = [(s, e, cpu) for s in SYSTEMS for e in s.engines for cpu in s.cpus]


def name(row):
    return "-".join((row[0].name, *row[1:]))


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """A thousand digits of scikit-learn's in MNIST's form, in a folder of their own."""
    from train.data.load import sklearn_digits

    folder = tmp_path_factory.mktemp("images")
    np.save(folder / "images.npy", sklearn_digits().train.pixels[:1000])
    return folder


@pytest.fixture(scope="session")
def answers_here(images, tmp_path_factory):
    """What each engine answers on this machine, by the name of its artifact; of the same wheel."""
    (wheel,) = (roots.CACHE / "project").glob("digit_edge-*.whl")
    unpacked = tmp_path_factory.mktemp("wheel")
    zipfile.ZipFile(wheel).extractall(unpacked)
    pythons = {"litert": sys.executable, "onnx": sys.executable}
    # tflite-runtime wants NumPy 1, so an environment of its own; there is none for Python 3.12.
    pythons["tflite"] = str(CHECKOUT / ".venv-tflite/bin/python")
    answers = {}
    for engine, interpreter in pythons.items():
        folder = tmp_path_factory.mktemp(engine)
        done = subprocess.run(
            [interpreter, GUEST / "scores.py", engine, images / "images.npy", folder],
            env={"PYTHONPATH": str(unpacked)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 or "tflite_runtime is not installed" in done.stderr, done.stderr
        answers[engine] = {file.stem: np.load(file) for file in folder.glob("*.npy")}
    return answers


@pytest.mark.parametrize("row", EVERYWHERE, ids=name)
def test_answers_are_those_of_this_machine(row, card, images, answers_here, tmp_path):
    """Of a thousand images for each system and engine, dealt out to the system's processors."""
    system, engine, cpu = row
    dealt = slice(system.cpus.index(cpu), None, len(system.cpus))
    np.save(tmp_path / "images.npy", np.load(images / "images.npy")[dealt])
    pi = with_engines(
        system, cpu, card, {tmp_path / "images.npy": "/srv/images.npy", GUEST: "/srv/guest"}
    )
    output(pi.run(python(engine), "/srv/guest/scores.py", engine, "/srv/images.npy", "answers"))
    expected = answers_here[engine]
    if not expected:
        pytest.skip(f"{engine} is not in .venv-{engine}: make test, with Python 3.10 or 3.11")
    found = {file.stem: np.load(file) for file in (card / "up/home/pi/answers").glob("*.npy")}
    assert found.keys() == expected.keys()
    assert len(found) == 2
    for artifact, scores in found.items():
        here = expected[artifact][dealt]
        np.testing.assert_array_equal(scores.argmax(1), here.argmax(1))
        if "int8" in artifact:
            np.testing.assert_array_equal(scores, here)
        else:
            assert np.abs(scores - here).max() <= 1e-5


def test_conformance(system, card):
    """All engines of a system in one Python; that each runs by itself the other tests show."""
    engines = CHECKOUT / "tests/engines"
    cpu = system.cpus[len(system.cpus) // 2]
    pi = with_engines(system, cpu, card, {engines: "/srv/tests/engines"})
    packages = f"env/lib/python{system.python}/site-packages"
    places = ["/srv/pytest", *(f"/home/pi/{engine}/{packages}" for engine in system.engines[1:])]
    said = output(
        pi.run(
            python(system.engines[0]),
            *("-m", "pytest", "-v", "-p", "no:cacheprovider", "-W", "error"),
            "/srv/tests/engines",
            environment={"PYTHONPATH": ":".join(places)},
            folder="/tmp",
        )
    )
    assert " passed" in said
    assert "failed" not in said
    names = [engine.name for engine in ENGINES if engine.extra in system.engines]
    assert all(f"[{name}-digits" in said for name in names)


def test_command(system, card):
    """The command, by the first engine; by each the table runs it, on one picture.

    The self-test has passed, as install-pi.sh ends with it.
    """
    pi = with_engines(system, system.cpus[-1], card, {CHECKOUT / "examples": "/srv/examples"})
    pictures = [f"/srv/examples/{file}" for file in ("photo.jpg", "scan.png", "screen.png")]
    command = (python(system.engines[0]), "-m", "runtime", "--json", *pictures)
    said = output(pi.run(*command))
    assert [json.loads(line)["label"] for line in said.splitlines()] == ["7", "5", "3"]
