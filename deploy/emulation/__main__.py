"""Test and measure the runtime on emulated Raspberry Pis.

The command `python -m deploy.emulation` builds the emulated Pis in `.pi/` and runs deploy/tests on
them. It measures instructions and memory of every engine. Then it compares the figures with the
baseline, benchmarks/results/pi.json.
"""

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.emulation import installed, roots, table, user
from deploy.systems import SYSTEMS, System
from deploy.wheels import CHECKOUT
from runtime.cli.exit_status import exit_status
from runtime.cli.parser import CommandParser
from runtime.errors import CHECK_FAILED, EdgeError

# Test file that runs the commands of docs/raspberry-pi.md. Only --page runs this slow test.
PAGE_TESTS = CHECKOUT / "deploy/tests/test_docs.py"


def main(argv: list[str] | None = None) -> int:
    """Build, test and measure.

    Returns:
        The exit status: 0, or 3 if a test failed or a figure is worse than the baseline.
    """
    arguments = parse_args(argv)
    user.require_namespaces()
    roots.build(install=installed.install, page=arguments.page)
    if arguments.page:
        return 0 if run_tests([PAGE_TESTS], workers=0) else CHECK_FAILED
    # Instruction counts do not depend on the load of this machine, so the tests run in parallel.
    with ThreadPoolExecutor(1) as pool:
        passed = pool.submit(lambda: arguments.measure or run_tests(all_but_the_page(), workers=2))
        rows = measure_all(2 if arguments.measure else 1)
    table.write(rows, roots.CACHE / "pi.json")
    if not passed.result():
        return CHECK_FAILED
    if arguments.baseline:
        table.write(rows, table.BASELINE)
        print(f"{table.BASELINE.relative_to(CHECKOUT)}: {len(rows)} rows")
        return 0
    print(table.markdown(rows))
    return verdict(rows, table.read())


def verdict(rows: list[table.Row], baseline: list[table.Row]) -> int:
    """Print each figure that is worse than the baseline to stderr.

    Args:
        rows: the measured figures.
        baseline: the figures to compare with.

    Returns:
        The exit status: 0, or 3 if a figure is worse.
    """
    worse = table.compare(rows, baseline)
    for line in worse:
        print(f"error: {line}; if that is intended, {table.REMEDY}", file=sys.stderr)
    return CHECK_FAILED if worse else 0


def all_but_the_page() -> list[Path]:
    """Return the test files of `make pi`: all of deploy/tests except PAGE_TESTS."""
    return [file for file in sorted(PAGE_TESTS.parent.glob("test_*.py")) if file != PAGE_TESTS]


def run_tests(files: list[Path], workers: int) -> bool:
    """Run test files with pytest, which prints its progress.

    Args:
        files: test files.
        workers: number of parallel processes; 0 runs the tests in one process.

    Returns:
        True if all tests passed.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    command += ["-n", str(workers), "--dist", "worksteal"]
    # Overlay layers and hard links need temporary folders on the file system of the root folders.
    command += ["--basetemp", str(roots.CACHE / "tests"), *map(str, files)]
    return subprocess.run(command, cwd=CHECKOUT).returncode == 0


def measure_all(at_once: int) -> list[table.Row]:
    """Measure every system on every processor.

    If a figure is worse than the baseline, the system is measured again on this processor, and the
    second figures count. The first may be too high: while an emulated Pi waits for its disk, its
    instruction clock jumps ahead.

    Args:
        at_once: number of systems that are measured in parallel, at least 1.
    """
    baseline = table.read()

    def measure_system(system: System) -> list[table.Row]:
        rows = []
        with tempfile.TemporaryDirectory(dir=roots.CACHE, prefix="measure-") as folder:
            disk = table.make_disk(system, Path(folder))
            for cpu in system.measured_on:
                before = [row for row in baseline if (row.system, row.cpu) == (system.name, cpu)]
                measured = table.measure(system, cpu, disk)
                if table.compare(measured, before):
                    measured = table.measure(system, cpu, disk)
                rows += measured
        return rows

    with ThreadPoolExecutor(at_once) as pool:
        return [row for rows in pool.map(measure_system, SYSTEMS) for row in rows]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = CommandParser(
        "python -m deploy.emulation",
        "Build emulated Raspberry Pis in .pi/, install the runtime's wheel on them, "
        "test and measure it there, and compare with benchmarks/results/pi.json.",
        {
            0: "passed",
            2: "bad usage, or the emulators cannot be built",
            3: "a test failed, or a figure is more than 2 % worse than the baseline",
        },
    )
    parser.add_argument("--measure", action="store_true", help="measure only, without the tests")
    parser.add_argument(
        "--page", action="store_true", help="only run the commands of docs/raspberry-pi.md"
    )
    parser.add_argument(
        "--baseline", action="store_true", help="save the figures as the baseline: pi.json, pi.md"
    )
    arguments = parser.parse_args(argv)
    if arguments.page and (arguments.measure or arguments.baseline):
        raise EdgeError("--page measures nothing: leave out --measure and --baseline")
    return arguments


if __name__ == "__main__":
    sys.exit(exit_status(main))
