"""python -m benchmarks.serve, small: what it finds is for a quiet machine to say."""

import json
import subprocess
import sys

import pytest

from benchmarks.serve.run import photographs
from runtime import Classifier


@pytest.mark.slow
def test_each_part_of_the_load_is_reported(tmp_path):
    small = [
        "--seconds",
        "1",
        "--clients",
        "20",
        "--each",
        "2",
        "--requests",
        "200",
        "--abuse-seconds",
        "2",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serve", *small, "--out", str(tmp_path / "serve.json")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr == ""
    record = json.loads((tmp_path / "serve.json").read_text())
    assert record["host"]["cores"] > 0
    checks = record["checks"]
    names = ["1-megapixel JPEGs", "20 clients", "memory", "abuse", "SIGTERM"]
    assert [check["name"] for check in checks] == names
    assert [line[2:].split("  ")[0] for line in done.stdout.splitlines()] == names
    assert done.returncode == (0 if all(check["passed"] for check in checks) else 3)
    # What no slow machine excuses.
    passed = {check["name"]: check["passed"] for check in checks}
    assert passed["SIGTERM"]
    assert passed["abuse"]


def test_the_photographs_are_of_a_megapixel_and_read():
    classifier = Classifier.load()
    golden = classifier.spec.golden
    for number, photograph in enumerate(photographs(4)):
        label = classifier.spec.labels[golden.scores[number].argmax()]
        assert classifier.classify(photograph).label == label
