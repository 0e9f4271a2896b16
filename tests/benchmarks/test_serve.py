"""The load test of the server, with few requests; the targets need a quiet machine."""

import json
import subprocess
import sys

import pytest

from benchmarks.serve.run import photographs
from runtime import Classifier

# A load of a few seconds.
SMALL_LOAD = (
    "--seconds", "1", "--clients", "20", "--each", "2", "--requests", "200", "--abuse-seconds", "2",
)  # fmt: skip
NAMES = ["1-megapixel JPEGs", "20 clients", "memory", "abuse", "SIGTERM"]
TIMEOUT_S = 300  # of the command


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run the command; return its process and the record it writes."""
    path = tmp_path_factory.mktemp("serve") / "serve.json"
    command = [sys.executable, "-m", "benchmarks.serve", *SMALL_LOAD, "--out", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.stderr == ""
    return done, json.loads(path.read_text())


@pytest.mark.slow
def test_each_part_of_the_load_test_is_printed(run):
    done, _ = run
    assert [line[2:].split("  ")[0] for line in done.stdout.splitlines()] == NAMES


@pytest.mark.slow
def test_each_part_of_the_load_test_is_recorded(run):
    _, record = run
    assert [check["name"] for check in record["checks"]] == NAMES


@pytest.mark.slow
def test_record_describes_the_machine(run):
    _, record = run
    assert record["host"]["cores"] > 0


@pytest.mark.slow
def test_exit_status_is_3_if_a_target_is_missed(run):
    done, record = run
    passed = all(check["passed"] for check in record["checks"])
    assert done.returncode == (0 if passed else 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "abuse"])
def test_target_that_does_not_depend_on_speed_is_met(run, name):
    _, record = run
    (check,) = [check for check in record["checks"] if check["name"] == name]
    assert check["passed"]


def test_drawn_photographs_are_classified_as_their_golden_digits():
    classifier = Classifier.load()
    golden = classifier.spec.golden
    for number, photograph in enumerate(photographs(4)):
        label = classifier.spec.labels[golden.scores[number].argmax()]
        assert classifier.classify(photograph).label == label
