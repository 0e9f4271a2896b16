"""The fuzzer runs a fixed number of tries with a fixed seed, and finds planted faults."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import mutate

ROOT = Path(__file__).parents[2]
TRIES = 40  # of each target; 30 s on two idle cores
SEED = 20261129


def fuzz(*options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *map(str, options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("targets", ["classify,read", "requests", "artifacts,specs,forged"])
def test_no_mutated_input_breaks_a_promise(targets, tmp_path):
    result = fuzz("--tries", TRIES, "--seed", SEED, "--targets", targets, "--out", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith(f"seed {SEED}\n")
    assert "0 fault" in result.stdout
    assert not any(tmp_path.iterdir())


def test_same_seed_makes_the_same_inputs():
    script = (
        "import hashlib, random, sys; from tests.fuzz.targets import TARGETS\n"
        "data = [t().make(random.Random(f'{n}')) for t in TARGETS for n in range(3)]\n"
        "print(hashlib.sha256(b''.join(data)).hexdigest())"
    )
    command = [sys.executable, "-c", script]
    digests = {
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1


def test_broken_promise_is_saved_with_the_command_that_repeats_it(tmp_path):
    """A limit of time that no image keeps."""
    plant = (
        "import sys; from tests.fuzz import __main__, targets\n"
        "targets.MAX_CPU_S = -1\n"
        "sys.exit(__main__.main(sys.argv[1:]))"
    )
    options = ["--tries", "1", "--seed", "1", "--targets", "classify", "--out", str(tmp_path)]
    result = subprocess.run(
        [sys.executable, "-c", plant, *options], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 3, result.stderr
    (saved,) = tmp_path.iterdir()
    assert f"-m tests.fuzz --targets classify --replay {saved}" in result.stdout
    replayed = fuzz("--targets", "classify", "--replay", saved)
    assert replayed.returncode == 0, replayed.stdout
    assert replayed.stdout.startswith("ok classify: ")


def test_unknown_target_is_rejected():
    result = fuzz("--targets", "x")
    assert result.returncode == 2
    assert "no target x: choose from classify" in result.stderr


@pytest.mark.parametrize("command", ["runtime.__main__", "runtime.read"])
def test_webp_of_many_huffman_groups_is_rejected_within_the_memory_limit(command, tmp_path):
    """Half a megabyte, for which libwebp allocates 400 MB."""
    script = (
        "import sys\n"
        "from runtime.cli.exit_status import exit_status\n"
        "from runtime.system.host import peak_memory_bytes\n"
        f"from {command} import main\n"
        "from tests.fuzz.images import webp_huffman_groups\n"
        "open(sys.argv[1], 'wb').write(webp_huffman_groups(1024, 65_536))\n"
        "print(exit_status(lambda: main(sys.argv[1:])), peak_memory_bytes() < 260e6)\n"
    )
    path = tmp_path / "groups.webp"
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)], cwd=ROOT, capture_output=True, text=True
    )
    assert result.stdout == "2 True\n"
    assert result.stderr == (
        f"error: {path}: damaged image (failed to read next frame); save it again as PNG or JPEG\n"
    )


def test_repeated_parts_are_no_larger_than_the_largest_file():
    for seed in range(40):
        parts = [bytes(4 << 20)]
        mutate._mutate_parts(random.Random(seed), parts, bytes)
        assert sum(map(len, parts)) <= (16 << 20) + (4 << 20)


def test_each_byte_of_an_artifact_can_be_mutated() -> None:
    """The byte after the last one was tried, once in some 10,000 mutations."""
    for seed in range(20_000):
        mutate.mutate_artifact(random.Random(seed), bytes(64), ".onnx", forge=False)
