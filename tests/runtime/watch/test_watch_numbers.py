"""digit-edge watch --read, run like a service: regions, checks, restarts, outputs."""

import json
import os
import signal
from pathlib import Path

import pytest

from runtime.cli.exit_status import exit_status
from runtime.watch.__main__ import parse_args


def send(picture, path: Path) -> None:
    """Put an image into a folder at once."""
    part = path.with_name(f".{path.name}")
    picture.save(part, "PNG")
    os.rename(part, path)


def test_number_of_each_region_is_a_record(watch, tmp_path, meter):
    regions = ("--region", "main=0%,0%,100%,50%", "--region", "flow=0,110,480,110")
    watcher = watch("--read", *regions, "--decimals", 2, "--out", tmp_path / "out.jsonl")
    send(meter("00123", "62"), tmp_path / "in" / "1.png")
    main, flow = watcher.next(), watcher.next()
    assert (main["region"], main["text"], main["value"]) == ("main", "00123", 1.23)
    assert (flow["region"], flow["text"], flow["value"]) == ("flow", "62", 0.62)
    assert all(
        each["accepted"] and each["reason"] is None and each["image"].endswith("1.png")
        for each in (main, flow)
    )
    assert main["last_value"] == 1.23
    assert 0.5 < main["confidence"] <= 1
    send(meter("00123"), tmp_path / "in" / "2.png")  # without the place of the second region
    assert "not inside the image of 480x110 pixels" in watcher.next()["error"]
    assert watcher.end() == 0
    written = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written][:2] == [main, flow]


def test_page_of_several_numbers_is_one_record_without_a_value(watch, tmp_path, meter):
    watcher = watch("--read")
    send(meter("10457", "62"), tmp_path / "in" / "1.png")
    send(meter(""), tmp_path / "in" / "2.png")
    page, empty = watcher.next(), watcher.next()
    assert (page["text"], page["value"], page["accepted"]) == ("10457\n62", None, True)
    assert (empty["accepted"], empty["reason"]) == (False, "no digits")
    assert watcher.end() == 0
    assert not list((tmp_path / "state" / "digit-edge").glob("numbers-*"))


def test_violations_are_rejected_with_the_last_value_also_after_a_restart(
    watch, tmp_path, meter, until
):
    options = ("--read", "--digits", 5, "--monotone", "--max-step", 50)
    ran = tmp_path / "ran"
    watcher = watch(*options, "--on-number", f"sh -c 'echo $DIGIT_EDGE_VALUE >> {ran}'")
    texts = ["20461", "20460", "29461", "2046", "20463"]
    for number, text in enumerate(texts):
        send(meter(text), tmp_path / "in" / f"{number}.png")
    records = sorted((watcher.next() for _ in texts), key=lambda record: record["image"])
    assert [each["value"] for each in records] == [20461, None, None, None, 20463]
    assert [each["last_value"] for each in records] == [20461, 20461, 20461, 20461, 20463]
    assert [each["reason"] for each in records] == [
        None,
        "20460 is less than the last value 20461",
        "29461 differs from the last value 20461 by more than 50",
        "4 digits, not 5",
        None,
    ]
    files = (tmp_path / "state" / "digit-edge").glob
    until(
        lambda: (
            [json.loads(file.read_text()) for file in files("numbers-*.json")]
            == [{"number": 20463}]
        ),
        "the value is not saved",
    )
    watcher.end(signal.SIGKILL)
    again = watch(*options)
    send(meter("20457"), tmp_path / "in" / "next.png")
    record = again.next()
    while "next.png" not in record["image"]:  # repeated after the kill
        record = again.next()
    assert (record["value"], record["accepted"], record["last_value"]) == (None, False, 20463)
    assert again.end() == 0
    assert ran.read_text().split() == ["20461", "20463"]


def test_result_that_is_repeated_after_a_kill_is_accepted_again(watch, tmp_path, meter):
    """Numbers that were not delivered are not yet the last value in the file."""
    options = ("--read", "--monotone", "--settle", 0.05)
    slow = ("--on-number", "sleep 5")
    watcher = watch(*options, *slow)
    for number, text in enumerate(("20461", "20463", "20471")):
        send(meter(text), tmp_path / "in" / f"{number}.png")
        watcher.next()
    watcher.end(signal.SIGKILL)
    again = watch(*options)
    record = again.next()  # of the first image whose command had not ended
    while record["value"] != 20471:
        assert record["accepted"]
        record = again.next()
    assert again.end() == 0


@pytest.mark.parametrize("content", [b"not JSON", b'{"number": "12"}'])
def test_damaged_last_values_are_one_error(watch, tmp_path, content):
    (tmp_path / "last.json").write_bytes(content)
    watcher = watch("--read", "--last-values", tmp_path / "last.json", ready=False)
    assert watcher.end(None) == 2
    assert "is not a file of last values, or is damaged: delete it" in watcher.complaint()
    assert watcher.errors.empty()
    assert (tmp_path / "last.json").read_bytes() == content


def test_file_of_last_values_has_one_user(watch, tmp_path):
    first = watch("--read", "--last-values", tmp_path / "last.json")
    second = watch(
        "--read", "--last-values", tmp_path / "last.json", folder=tmp_path / "other", ready=False
    )
    assert second.end(None) == 2
    assert f"in use by process {first.process.pid}" in second.complaint()


def test_numbers_reach_the_broker_and_home_assistant(watch, tmp_path, meter, broker, reader, until):
    pytest.importorskip("paho.mqtt", reason='needs paho-mqtt: pip install "digit-edge[mqtt]"')
    running = broker()
    subscriber = reader(running)
    watcher = watch(
        *("--read", "--region", "main=0%,0%,100%,100%", "--monotone", "--decimals", 1),
        *("--mqtt", f"mqtt://127.0.0.1:{running.port}/meter", "--mqtt-discovery"),
        *("--unit", "m³", "--device-class", "water"),
    )
    for number, text in enumerate(("20461", "20460")):
        send(meter(text), tmp_path / "in" / f"{number}.png")
        watcher.next()
    until(lambda: len(subscriber.of("meter/main")) == 2, "not published")
    accepted, rejected = map(json.loads, subscriber.of("meter/main"))
    assert (accepted["value"], accepted["last_value"]) == (2046.1, 2046.1)
    assert (rejected["value"], rejected["accepted"]) == (None, False)
    assert rejected["last_value"] == 2046.1
    config = json.loads(subscriber.of("homeassistant/sensor/digit_edge_meter/main/config")[0])
    assert (config["device_class"], config["unit_of_measurement"]) == ("water", "m³")
    assert config["state_class"] == "total_increasing"
    assert watcher.end() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--region", "0,0,9,9"], "--region is for numbers: pass --read too"),
        (["--monotone"], "--monotone is for numbers: pass --read too"),
        (["--last-values", "x"], "--last-values is for numbers: pass --read too"),
        (["--read", "--digits", "0"], "'0' is not a whole number from 1 to 15"),
        (["--read", "--decimals", "16"], "'16' is not a whole number from 0 to 15"),
        (["--read", "--max-step", "0"], "'0' is not a number greater than 0"),
        (["--read", "--max-step", "nan"], "'nan' is not a number greater than 0"),
        (["--read", "--region", "1,2,3"], "'1,2,3' is not [NAME=]X,Y,W,H"),
        (["--read", "--region", "a=0,0,9,9", "--region", "a=9,9,9,9"], "two regions are named a"),
        (["--read", "--unit", "m³"], "pass --read and --mqtt-discovery too"),
        (
            ["--read", "--mqtt", "mqtt://h/t", "--mqtt-discovery", "--device-class", "gas"],
            "--device-class gas needs --unit with one of: m³, ft³, CCF",
        ),
    ],
)
def test_contradicting_options_are_one_error(capfd, arguments, message):
    assert exit_status(lambda: parse_args(["folder", *arguments]) and 0) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
