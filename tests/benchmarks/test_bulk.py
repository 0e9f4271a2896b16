"""The benchmark of bulk classification: a small run, and the arithmetic of its report."""

import json

from benchmarks import bulk
from benchmarks.harness import machine

RATES = {bulk._DECODE: 4000.0, bulk._SIMPLE: 1000.0, bulk._BULK_1: 2000.0, bulk._BULK_2: 3000.0}


def timing(name: str, start_s: float, rate: float) -> bulk.Timing:
    def run(images: int, seconds: float) -> bulk.Run:
        return bulk.Run(images, seconds, seconds / 2)

    long = tuple(run(6100, start_s + 6000 / rate * f) for f in (0.1, 1, 9))
    return bulk.Timing(name, (run(100, start_s),), long)


def report(ray: bool = False) -> bulk.Report:
    timings = [timing(name, 1.0, rate) for name, rate in RATES.items()]
    if ray:
        timings.append(timing(bulk._RAY, 10.0, 1500.0))
    memory = (bulk.Memory(10_000, 90_000_000, 5.0),)
    return bulk.Report("command", machine.describe(), 1.0, tuple(timings), memory, 0.04)


def test_rates_are_of_median_runs_without_the_start():
    text = bulk.markdown(report())
    assert "| digit-edge bulk --jobs 1 | 1.00 | 2,000 | 0.50 | 4,000 | 0.50 |" in text
    assert "One worker classifies 2.00 times as many images per CPU second as the loop" in text
    assert "Two workers classify 1.50 times as many images per second as one" in text
    assert "| 10,000 | 90 MB | 2,000 |" in text


def test_cost_of_ten_million_images_is_calculated_from_cpu_time():
    """10,000,000 / 4,000 per CPU second = 2,500 s = 0.69 hours."""
    assert (
        "Ten million such images take 0.69 core-hours, calculated from the CPU time of one worker: "
        "4.2 minutes on 10 cores, 0.028 US dollars at 0.04 per core-hour (an assumption)."
    ) in bulk.markdown(report())


def test_start_of_ray_is_not_counted_as_classification():
    text = bulk.markdown(report(ray=True))
    assert "| digit-edge bulk --ray local | 10.00 | 1,500 | 0.38 | – | – |" in text
    assert "Ray takes 10 s to start and end. After that, the same cores classify 0.50 times" in text


def test_small_run_writes_both_files(tmp_path, capsys):
    options = ["--images", "130", "--rows", "20,40", "--repetitions", "1", "--no-ray"]
    assert bulk.main([*options, "--out", str(tmp_path)]) == 0
    text = (tmp_path / "bulk.md").read_text()
    assert capsys.readouterr().out == text
    assert "`digit-edge benchmark-bulk --images 130 --rows 20,40 --repetitions 1 --no-ray" in text
    record = json.loads((tmp_path / "bulk.json").read_text())
    assert [timing["long"][0]["images"] for timing in record["timings"]] == [130] * 4
    assert [memory["rows"] for memory in record["memory"]] == [20, 40]
    assert all(memory["peak_bytes"] > 20e6 for memory in record["memory"])
