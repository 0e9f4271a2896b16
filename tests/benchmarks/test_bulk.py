"""The benchmark of bulk classification: a small run, and the arithmetic of its report."""

import json

from benchmarks import bulk
from benchmarks.harness import machine

RATES = {bulk._DECODE: 4000.0, bulk._SIMPLE: 1000.0, bulk._BULK_1: 2000.0, bulk._BULK_2: 3000.0}


def report(ray: bool = False) -> bulk.Report:
    timings = [bulk.Timing(name, 6000, (9.0, 6000 / rate, 0.1)) for name, rate in RATES.items()]
    if ray:
        timings.append(bulk.Timing(bulk._RAY, 6000, (14.0,)))
        timings.append(bulk.Timing(bulk._RAY_START, 100, (10.0,)))
    memory = (bulk.Memory(10_000, 90_000_000, 5.0),)
    return bulk.Report("command", machine.describe(), 1.0, tuple(timings), memory, 0.04)


def test_ratios_are_of_median_runs():
    text = bulk.markdown(report())
    assert "| digit-edge bulk --jobs 1 | 6,000 | 3.00 | 2,000 | 0.50 |" in text
    assert "- One worker is 2.00 times as fast as the loop." in text
    assert "- Two workers are 1.50 times as fast as one." in text
    assert "| 10,000 | 90 MB | 2,000 |" in text


def test_cost_of_ten_million_images_is_calculated_from_one_worker():
    """10,000,000 / 2,000 per second = 5,000 s = 1.39 hours."""
    assert (
        "Ten million such images take 1.4 core-hours, calculated from one worker: 0.8 minutes on "
        "100 cores, 0.06 US dollars at 0.04 per core-hour (an assumption)."
    ) in bulk.markdown(report())


def test_start_of_ray_is_not_counted_as_classification():
    assert (
        "Ray takes 10 s to start and end. Without that, the same cores classify 0.50 times as many "
        "images per second as with --jobs 2."
    ) in bulk.markdown(report(ray=True))


def test_small_run_writes_both_files(tmp_path, capsys):
    options = ["--images", "30", "--rows", "20,40", "--repetitions", "1", "--no-ray"]
    assert bulk.main([*options, "--out", str(tmp_path)]) == 0
    text = (tmp_path / "bulk.md").read_text()
    assert capsys.readouterr().out == text
    assert "`digit-edge benchmark-bulk --images 30 --rows 20,40 --repetitions 1 --no-ray" in text
    record = json.loads((tmp_path / "bulk.json").read_text())
    assert [timing["images"] for timing in record["timings"]] == [30] * 4
    assert [memory["rows"] for memory in record["memory"]] == [20, 40]
    assert all(memory["peak_bytes"] > 20e6 for memory in record["memory"])
