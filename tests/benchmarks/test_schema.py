"""Reports that are damaged, tampered with, or of another version end in one line."""

import copy
import json
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pytest

from benchmarks.harness import serialize
from benchmarks.report import related
from benchmarks.schema import report
from runtime.errors import EdgeError

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
NAN = float("nan")


@pytest.fixture(scope="module")
def published() -> dict:
    """Return the content of the published report.json."""
    return json.loads((RESULTS / "report.json").read_text("utf-8"))


def changed(record: dict, position: tuple[str | int, ...], value: object) -> dict:
    """Return a copy of a record with another value at a position, or without it if it is None."""
    copied = copy.deepcopy(record)
    part = reduce(lambda outer, key: outer[key], position[:-1], copied)
    if value is None:
        del part[position[-1]]
    else:
        part[position[-1]] = value
    return copied


def message_of(path: Path, text: str, read=report.read) -> str:
    """Write a file; return the message of the error when it is read."""
    path.write_text(text)
    with pytest.raises(EdgeError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


RUN = ("latency", "results", 0, "runs", 0)


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [
        ((*RUN, "samples_ns"), [], "latency.results[0].runs[0].samples_ns has 0 items"),
        ((*RUN, "samples_ns", 3), 0, "samples_ns[3] is 0, less than 1"),
        ((*RUN, "samples_ns", 3), 1.5, "samples_ns[3] is 1.5, not an integer"),
        ((*RUN, "samples_ns", 3), 10**40, "samples_ns[3] is 1000000000"),
        ((*RUN, "total_ns"), 0, "total_ns is 0"),
        ((*RUN, "count"), None, "latency.results[0].runs[0].count is missing"),
        (("latency", "results", 0, "runs"), [], "runs has 0 items"),
        (("latency", "results", 0, "precision"), "int4", "not one of float32, float16, int8"),
        (("latency", "results", 0, "row", "threads"), "1", "row.threads is '1', not an integer"),
        (("latency", "starts", 0, "starts"), [], "starts has 0 items"),
        (("latency", "files", 0, "command_ns"), [1], "have different lengths"),
        (("latency", "host"), "a machine", "latency.host is 'a machine', not an object"),
        (("parity", "n"), 0, "parity.n is 0, less than 1"),
        (("parity", "original", "n"), 0, "parity.original.n is 0"),
        (("parity", "original", "correct"), 10**6, "1000000 of 10000 predictions are correct"),
        (("parity", "original", "confusion"), [[1, 2]], "the confusion matrix is not square"),
        (("parity", "original", "reliability"), [], "reliability has 0 items"),
        (("parity", "original", "confidence"), NAN, "NaN is not a number in JSON"),
        (("parity", "class_names"), ["0", "1"], "is not of 2 classes"),
        (("parity", "results", 2, "flips", 0, "answer"), 10, "a flip is not of 10 classes"),
        (("parity", "results", 0, "only_original"), 20_000, "more predictions differ than"),
        (("parity", "results", 0, "size_bytes"), 0, "size_bytes is 0"),
        (("parity", "pictures", 0, "pixels"), [1, 2, 3], "the pixels are not a square"),
        (("parity", "dataset"), "\ud800", "parity.dataset contains half of a surrogate pair"),
        (("created",), 2026, "created is 2026, not a text"),
    ],
)
def test_invalid_value_is_named_by_its_position(
    published, tmp_path, position, value, reason
) -> None:
    text = json.dumps(changed(published, position, value))
    message = message_of(tmp_path / "report.json", text)
    assert reason in message
    assert message.endswith("name a JSON file that digit-edge benchmark wrote")


def test_number_that_overflows_a_float_is_an_error(published, tmp_path) -> None:
    text = json.dumps(changed(published, ("parity", "original", "confidence"), 0.125))
    assert "too large" in message_of(tmp_path / "report.json", text.replace("0.125", "1e999", 1))


def test_newer_version_is_named_before_keys_that_it_lacks(tmp_path) -> None:
    message = message_of(tmp_path / "newer.json", '{"schema_version": 2}')
    assert "schema version 2, but this program reads version 1" in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON (line 1, column 1"),
        ("# A heading\n", "is not JSON (line 1, column 1"),
        ('{"a": [1, }', "is not JSON (line 1, column 1"),
        ("[" * 100_000, "nested too deep"),
        ("1" * 5000, "a number is too long"),
        ("[]", "the content is [], not an object"),
        ("null", "the content is None, not an object"),
    ],
)
def test_text_that_is_not_a_report_is_an_error(tmp_path, text, reason) -> None:
    assert reason in message_of(tmp_path / "report.json", text)


def test_bytes_that_are_not_text_are_an_error(tmp_path) -> None:
    path = tmp_path / "digits.onnx"
    path.write_bytes(b"\x08\xff\xfe\x80")
    with pytest.raises(EdgeError, match=r"digits\.onnx is not JSON \(it is not text\)"):
        report.read(path)


def test_other_report_is_an_error_that_names_the_missing_key() -> None:
    with pytest.raises(EdgeError, match=r"rejection\.json .*parity is missing"):
        report.read(RESULTS / "rejection.json")


def test_file_that_is_too_large_is_not_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(serialize, "_MAX_REPORT_BYTES", 2**20)
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(2**21)
    with pytest.raises(EdgeError, match=r"huge\.json is larger than 1 MiB: "):
        report.read(tmp_path / "huge.json")


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_file_that_cannot_be_opened_is_an_error(tmp_path, name) -> None:
    with pytest.raises(EdgeError, match=r"cannot read the report .*; name a JSON"):
        report.read(tmp_path / name)


def without_a_curve(record: dict) -> dict:
    record["results"][1]["curves"].pop()
    return record


def with_four_strengths(record: dict) -> dict:
    record["results"][0]["curves"][0]["strengths"].pop()
    return record


def without_a_kind(record: dict) -> dict:
    record["results"][1]["kinds"].pop()
    return record


def without_digits(record: dict) -> dict:
    record["results"][0]["digits"] = 0
    return record


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("robustness", without_a_curve, "the results are not of the same corruptions"),
        ("robustness", with_four_strengths, "do not have 5 items each"),
        ("rejection", without_a_kind, "the results are not of the same kinds"),
        ("rejection", without_digits, "results[0].digits is 0"),
    ],
)
def test_invalid_related_report_is_an_error(tmp_path, name, change, reason) -> None:
    record = change(json.loads((RESULTS / f"{name}.json").read_text("utf-8")))
    path = tmp_path / f"{name}.json"
    message = message_of(path, json.dumps(record), lambda path: related.read(path.parent))
    assert reason in message
    assert f"digit-edge benchmark-{name}" in message


@pytest.mark.parametrize("files", [("README.md", "report.json"), ("report.json", "README.md")])
def test_compare_names_the_file_that_is_not_a_report(tmp_path, files) -> None:
    (tmp_path / "README.md").write_text("# digit-edge\n")
    (tmp_path / "report.json").write_bytes((RESULTS / "report.json").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.compare", *(tmp_path / name for name in files)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {tmp_path / 'README.md'} is not JSON (line 1, column 1: Expecting value): "
        "name a JSON file that digit-edge benchmark wrote\n"
    )


def test_optional_key_of_a_newer_format_may_be_missing(published, tmp_path) -> None:
    """Reports of older versions do not have the key."""
    path = tmp_path / "report.json"
    path.write_text(json.dumps(changed(published, ("parity", "activations"), None)))
    assert report.read(path).parity.activations == 0
