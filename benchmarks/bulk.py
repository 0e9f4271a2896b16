"""Measure the speed, memory and cost of bulk classification.

`digit-edge benchmark-bulk` runs this module. All programs classify the same PNG files, one after
another in each repetition, so that the load of the machine affects all of them alike.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.harness import machine
from benchmarks.latency.scenarios import images_of, png
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import EdgeError
from runtime.model import artifact
from runtime.model.default_model import find_model
from runtime.system import atomic_write
from runtime.system.own_modules import ROOT, module_command, own_name

_IMAGES = 20_000  # default number of PNG files
_ROWS = (10_000, 1_000_000)  # default numbers of rows of the Parquet files
_REPETITIONS = 3  # default number of runs of each program
_TEN_MILLION = 10_000_000
_PRICE_PER_CORE_HOUR = 0.04  # US dollars; what large clouds ask for a virtual core, roughly
_SAMPLE_S = 0.05  # between two looks at the memory of a process
_PARQUET_BLOCK_ROWS = 1_000  # rows of a row group
_FEW_IMAGES = 100  # of the runs that measure how long a program takes to start

# The loop that people write, over the files of a folder.
_LOOP = (
    "import sys; from pathlib import Path; from {package} import Classifier\n"
    "classifier = Classifier.load()\n"
    "for path in sorted(Path(sys.argv[1]).iterdir()): classifier.classify(path)\n"
)


@dataclass(frozen=True)
class Run:
    """One run of a program, from its start to its end.

    Attributes:
        images: number of images.
        seconds: duration.
        cpu_seconds: processor time of the program and its workers.
    """

    images: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Timing:
    """The runs of one program.

    Attributes:
        name: a description of the program, for the table.
        short: runs with few images, which take little more than the start of the program.
        long: runs with many images.
    """

    name: str
    short: tuple[Run, ...]
    long: tuple[Run, ...]

    @property
    def start_s(self) -> float:
        """Median duration of the short runs."""
        return statistics.median(run.seconds for run in self.short)

    @property
    def rate(self) -> float:
        """Images per second, without the start."""
        seconds = statistics.median(run.seconds for run in self.long) - self.start_s
        return self._more_images / max(seconds, 1e-9)

    @property
    def cpu_rate(self) -> float:
        """Images per second of processor time, without the start."""
        start_s = statistics.median(run.cpu_seconds for run in self.short)
        seconds = statistics.median(run.cpu_seconds for run in self.long) - start_s
        return self._more_images / max(seconds, 1e-9)

    @property
    def _more_images(self) -> int:
        return self.long[0].images - self.short[0].images


@dataclass(frozen=True)
class Memory:
    """The memory that the command needs for a Parquet file.

    Attributes:
        rows: number of images in the file.
        peak_bytes: peak resident size of the process, with one worker.
        seconds: duration.
    """

    rows: int
    peak_bytes: int
    seconds: float


@dataclass(frozen=True)
class Report:
    """All measurements.

    Attributes:
        command: the command that made them.
        host: the machine.
        load_after: load average of the last minute at the end.
        timings: the programs.
        memory: one for each number of rows.
        price: of a core for an hour, in US dollars; an assumption.
    """

    command: str
    host: machine.Host
    load_after: float
    timings: tuple[Timing, ...]
    memory: tuple[Memory, ...]
    price: float

    def timing(self, name: str) -> Timing | None:
        """Return the timing of a program; None if it was not measured."""
        return next((timing for timing in self.timings if timing.name == name), None)


_DECODE = "decode only, one process"
_SIMPLE = "loop over Classifier.classify"
_BULK_1 = "digit-edge bulk --jobs 1"
_BULK_2 = "digit-edge bulk --jobs 2"
_RAY = "digit-edge bulk --ray local"


def measure(
    images: int,
    rows: Sequence[int],
    repetitions: int,
    with_ray: bool,
    price: float,
    command: str,
    progress: Callable[[str], None],
) -> Report:
    """Measure all programs.

    Args:
        images: number of PNG files.
        rows: numbers of rows of the Parquet files.
        repetitions: number of runs of each program.
        with_ray: whether to measure Ray.
        price: of a core for an hour, in US dollars.
        command: the command line, for the report.
        progress: called with a text for each step.

    Raises:
        EdgeError: a program fails.
    """
    host = machine.describe()
    contents = [png(image) for image in images_of(artifact.read(find_model(None)).spec)]
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        folder = Path(name)
        for count, files in ((images, "images"), (_FEW_IMAGES, "few")):
            (folder / files).mkdir()
            for number in range(count):
                path = folder / files / f"{number:07}.png"
                path.write_bytes(contents[number % len(contents)])
        programs = _programs(images, with_ray)
        runs: dict[tuple[str, str], list[Run]] = {}
        for repetition in range(repetitions):
            for title, command_of in programs.items():
                progress(f"{title}, run {repetition + 1} of {repetitions}")
                for files, count in (("few", _FEW_IMAGES), ("images", images)):
                    out = folder / f"out-{len(os.listdir(folder))}"
                    arguments = command_of(str(folder / files), str(out))
                    if not repetition:
                        for path in (folder / files).iterdir():
                            path.read_bytes()  # fills the disk cache
                    runs.setdefault((title, files), []).append(_run(arguments, count))
        timings = tuple(
            Timing(title, tuple(runs[title, "few"]), tuple(runs[title, "images"]))
            for title in programs
        )
        memory = []
        for count in rows:
            progress(f"memory of {count:,} rows")
            path = folder / f"{count}.parquet"
            _write_parquet(path, contents, count)
            memory.append(_memory(path, folder / f"out-{count}", count))
            path.unlink()
    return Report(command, host, os.getloadavg()[0], timings, tuple(memory), price)


def _programs(images: int, with_ray: bool) -> dict[str, Callable[[str, str], list[str]]]:
    """Return name → function from the folder of images and a new folder to the command."""

    def bulk(*options: str) -> Callable[[str, str], list[str]]:
        return lambda folder, out: module_command(
            own_name("runtime.bulk"), folder, "--out", out, *options
        )

    programs = {
        _DECODE: lambda folder, out: module_command(
            own_name("benchmarks.latency.decode_only"), folder, "--jobs", "1"
        ),
        _SIMPLE: lambda folder, out: [
            sys.executable, "-c", _LOOP.format(package=own_name("runtime")), folder
        ],
        _BULK_1: bulk("--jobs", "1"),
        _BULK_2: bulk("--jobs", "2"),
    }  # fmt: skip
    if with_ray:
        # Parts of a tenth, so that all workers have some.
        programs[_RAY] = bulk("--ray", "local", "--part-rows", str(max(images // 10, 1)))
    return programs


def _run(command: Sequence[str], images: int) -> Run:
    """Run a command from the folder of our packages.

    Raises:
        EdgeError: it fails.
    """
    before = os.times()
    start_s = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    seconds = time.perf_counter() - start_s
    after = os.times()
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:]
        raise EdgeError(f"a measured program failed: {''.join(last)}; run it by itself")
    cpu_seconds = after.children_user + after.children_system
    cpu_seconds -= before.children_user + before.children_system
    return Run(images, seconds, cpu_seconds)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _write_parquet(path: Path, contents: Sequence[bytes], rows: int) -> None:
    """Write a Parquet file with a column of PNG files, a block at a time."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([("image", pyarrow.binary())])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for block in _blocks(contents, rows):
            writer.write_table(pyarrow.table({"image": block}, schema=schema))


def _blocks(contents: Sequence[bytes], rows: int) -> Iterator[list[bytes]]:
    for start in range(0, rows, _PARQUET_BLOCK_ROWS):
        end = min(start + _PARQUET_BLOCK_ROWS, rows)
        yield [contents[number % len(contents)] for number in range(start, end)]


def _memory(path: Path, out: Path, rows: int) -> Memory:
    """Classify a Parquet file with one worker, and measure the peak memory of the process.

    Raises:
        EdgeError: the command fails.
    """
    command = module_command(own_name("runtime.bulk"), str(path), "--out", str(out), "--jobs", "1")
    start_s = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, _peak_bytes(process.pid))
            time.sleep(_SAMPLE_S)
        error = process.stderr.read() if process.stderr is not None else ""
    if process.returncode != 0:
        raise EdgeError(f"a measured program failed: {error.strip()}; run it by itself")
    return Memory(rows, peak, time.perf_counter() - start_s)


def _peak_bytes(pid: int) -> int:
    """Return the peak resident size of a process so far; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    text = io.StringIO()
    host = report.host
    print("# Bulk classification\n", file=text)
    print(f"`{report.command}`\n", file=text)
    print(
        f"{host.cpu}, {host.cores} cores, Python {host.python}; load average {host.load:.1f} at "
        f"the start, {report.load_after:.1f} at the end. CPU time "
        "is little affected by the load, seconds are. Rates are without the start of the "
        f"program, which is a run with {_FEW_IMAGES} images.\n",
        file=text,
    )
    decode = report.timing(_DECODE)
    print(
        "| program | start, s | images/s | × decoding | images per CPU second | × decoding |",
        file=text,
    )
    print("|---|---|---|---|---|---|", file=text)
    for timing in report.timings:
        cells = [timing.name, f"{timing.start_s:.2f}", f"{timing.rate:,.0f}"]
        cells.append("–" if decode is None else f"{timing.rate / decode.rate:.2f}")
        # The processes of a Ray cluster are not children of the command.
        hidden = timing.name == _RAY or decode is None
        cells.append("–" if hidden else f"{timing.cpu_rate:,.0f}")
        cells.append(
            "–" if hidden or decode is None else f"{timing.cpu_rate / decode.cpu_rate:.2f}"
        )
        print(f"| {' | '.join(cells)} |", file=text)
    print(file=text)
    for line in _conclusions(report):
        print(f"- {line}", file=text)
    if report.memory:
        print("\n| rows of a Parquet file | peak memory, one worker | images/s |", file=text)
        print("|---|---|---|", file=text)
        for memory in report.memory:
            print(
                f"| {memory.rows:,} | {memory.peak_bytes / 1e6:.0f} MB | "
                f"{memory.rows / memory.seconds:,.0f} |",
                file=text,
            )
    return text.getvalue()


def _conclusions(report: Report) -> Iterator[str]:
    loop, one, two = map(report.timing, (_SIMPLE, _BULK_1, _BULK_2))
    if loop is None or one is None or two is None:
        return
    yield (
        f"One worker classifies {one.cpu_rate / loop.cpu_rate:.2f} times as many images per CPU "
        f"second as the loop ({one.rate / loop.rate:.2f} times per second)."
    )
    yield (
        f"Two workers classify {two.rate / one.rate:.2f} times as many images per second as one, "
        f"and {two.cpu_rate / one.cpu_rate:.2f} times as many per CPU second."
    )
    ray = report.timing(_RAY)
    if ray is not None:
        yield (
            f"Ray takes {ray.start_s:.0f} s to start and end. After that, the same cores classify "
            f"{ray.rate / two.rate:.2f} times as many images per second as with --jobs 2."
        )
    hours = _TEN_MILLION / one.cpu_rate / 3600
    yield (
        f"Ten million such images take {hours:.2f} core-hours, calculated from the CPU time of one "
        f"worker: {hours / 10 * 60:.1f} minutes on 10 cores, {hours * report.price:.3f} US dollars "
        f"at {report.price} per core-hour (an assumption)."
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; return 0."""
    parser = CommandParser(
        "digit-edge benchmark-bulk",
        "Measure digit-edge bulk on small PNG files that it makes: against decoding alone and a "
        "simple loop, with one and two workers and on Ray, and its memory.",
    )
    parser.add_argument(
        "--images",
        type=_count,
        default=_IMAGES,
        metavar="N",
        help="number of PNG files (default: %(default)s)",
    )
    parser.add_argument(
        "--rows",
        type=_counts,
        default=_ROWS,
        metavar="N,N,…",
        help="rows of the Parquet files whose memory is measured (default: 10000,1000000)",
    )
    parser.add_argument(
        "--repetitions",
        type=_count,
        default=_REPETITIONS,
        metavar="N",
        help="runs of each program (default: %(default)s)",
    )
    parser.add_argument("--no-ray", action="store_true", help="do not measure Ray")
    parser.add_argument(
        "--price",
        type=float,
        default=_PRICE_PER_CORE_HOUR,
        metavar="X",
        help="US dollars of a core for an hour (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write bulk.md and bulk.json into this folder"
    )
    arguments = parser.parse_args(argv)
    passed = " ".join(sys.argv[1:] if argv is None else argv)
    report = measure(
        arguments.images,
        arguments.rows,
        arguments.repetitions,
        not arguments.no_ray,
        arguments.price,
        f"digit-edge benchmark-bulk {passed}".strip(),
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    text = markdown(report)
    if arguments.out is not None:
        atomic_write.write(arguments.out / "bulk.md", text)
        atomic_write.write(arguments.out / "bulk.json", json.dumps(asdict(report), indent=1) + "\n")
    print(text, end="")
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(map(_count, text.split(",")))


if __name__ == "__main__":
    sys.exit(exit_status(main))
