"""--monotone and --max-step, and the file with the last values."""

import json
from decimal import Decimal

import pytest

from runtime.errors import EdgeError
from runtime.numbers.plausibility import LastValues, PlausibilityCheck


def accepted(check: PlausibilityCheck, *values: str) -> list[str]:
    """Return the values that are accepted, one after another."""
    return [value for value in values if check.accept("main", Decimal(value)) is None]


@pytest.mark.parametrize(
    ("options", "accepted_values"),
    [
        ({}, ["5", "4", "900", "901", "5.5"]),
        ({"monotone": True}, ["5", "900", "901"]),
        ({"max_step": 1.5}, ["5", "4", "5.5"]),
        ({"monotone": True, "max_step": 0.5}, ["5", "5.5"]),
        ({"max_step": 895}, ["5", "4", "5.5"]),
    ],
)
def test_implausible_values_are_rejected(options, accepted_values):
    check = PlausibilityCheck(LastValues(None), **options)
    assert accepted(check, "5", "4", "900", "901", "5.5") == accepted_values


def test_equal_value_and_largest_step_are_accepted():
    check = PlausibilityCheck(LastValues(None), monotone=True, max_step=0.1)
    assert accepted(check, "0.1", "0.1", "0.2", "0.3") == ["0.1", "0.1", "0.2", "0.3"]


def test_regions_do_not_affect_each_other():
    check = PlausibilityCheck(LastValues(None), monotone=True)
    assert check.accept("a", Decimal(9)) is None
    assert check.accept("b", Decimal(1)) is None
    assert "is less than the last value 9" in check.accept("a", Decimal(1))


def test_violation_stores_nothing():
    check = PlausibilityCheck(LastValues(None), max_step=1)
    assert check.violation("main", Decimal(7)) is None
    assert check.last_values.get("main") is None


def test_values_survive_a_restart_exactly(tmp_path):
    file = tmp_path / "new" / "last.json"
    values = LastValues(file)
    values.set("main", Decimal("123.450"))
    values.set("flow", Decimal("0.0000001"))
    values.stage()
    values.save()
    assert json.loads(file.read_text()) == {"main": 123.45, "flow": 1e-7}
    again = LastValues(file)
    assert (again.get("main"), again.get("flow")) == (Decimal("123.45"), Decimal("0.0000001"))
    assert [path.name for path in file.parent.iterdir()] == ["last.json"]


def test_only_values_of_delivered_results_are_saved(tmp_path):
    file = tmp_path / "last.json"
    values = LastValues(file)
    for result in (1, 2, 3):
        values.set("main", Decimal(result * 10))
        values.stage(result)
    values.save(0)
    assert not file.exists()
    values.save(2)
    assert json.loads(file.read_text()) == {"main": 20}
    values.save(3)
    assert json.loads(file.read_text()) == {"main": 30}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b'"a"', b'{"main": "12"}', b'{"main": null}', b'{"main": -1}',
        b'{"main": NaN}', b'{"main": Infinity}', b'{"main": 1e999999999}',
        b'{"main": 1e-999999999}', b'{"main": true}', b'{"main": {}}', b"\xff\xfe",
        b"[" * 100_000, b"\0" * 100,
        b'{"main": 12' + b"0" * 200 + b"}",
    ],
)  # fmt: skip
def test_damaged_file_is_one_error_that_names_the_remedy(tmp_path, content):
    file = tmp_path / "last.json"
    file.write_bytes(content)
    with pytest.raises(EdgeError, match=r"is not a file of last values.*delete it") as caught:
        LastValues(file)
    assert str(file) in str(caught.value)


def test_folder_in_place_of_the_file_is_an_error(tmp_path):
    with pytest.raises(EdgeError, match="pass another file with --last-values"):
        LastValues(tmp_path)


def test_unwritable_file_is_reported_once_and_written_later(tmp_path, capfd):
    (tmp_path / "folder").write_text("a file where the folder should be")
    file = tmp_path / "folder" / "last.json"
    values = LastValues(None)
    values._file = file
    for value in (1, 2):
        values.set("main", Decimal(value))
        values.stage()
        values.save()
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1
    assert "A restart will not know the last values" in errors[0]
    (tmp_path / "folder").unlink()
    values.save()
    assert json.loads(file.read_text()) == {"main": 2}
