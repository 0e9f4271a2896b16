"""python -m deploy.emulation: the runtime on emulated Raspberry Pis, proven and measured."""

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
from runtime.errors import CHECK_FAILED, EdgeError

PAGE_TESTS = CHECKOUT / "deploy/tests/test_docs.py"


def main(argv: list[str] | None = None) -> int:
    """Build, test, measure; 0 when all runs and nothing got worse, 3 when not."""
    arguments = parse_args(argv)
    user.require_namespaces()
    roots.build(install=installed.install, page=arguments.page)
    if arguments.page:
        return 0 if run_tests([PAGE_TESTS], workers=0) else CHECK_FAILED
    # Counted instructions do not depend on what else this machine does: both at once.
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
    """0, or 3 with a line on stderr for each row that is worse than its baseline."""
    worse = table.compare(rows, baseline)
    for line in worse:
        print(f"error: {line}; if that is meant to be, {table.REMEDY}", file=sys.stderr)
    return CHECK_FAILED if worse else 0


def all_but_the_page() -> list[Path]:
    """The files of deploy/tests that `make pi` runs; the page is one boot of many minutes."""
    return [file for file in sorted(PAGE_TESTS.parent.glob("test_*.py")) if file != PAGE_TESTS]


def run_tests(files: list[Path], workers: int) -> bool:
    """Run these files' tests, print what they said; true when all pass. 0 workers: one by one."""
    # Beside the roots: layers and hard links are of one file system.
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    command += ["-n", str(workers), "--dist", "worksteal"]
    command += ["--basetemp", str(roots.CACHE / "tests"), *map(str, files)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


def measure_all(at_once: int) -> list[table.Row]:
    """Boot every system on every processor, so many systems at a time.

    What is worse than its baseline is measured once more: while the disk is waited for, the clock
    that counts instructions leaps.
    """
    baseline = table.read()

    def one(system: System) -> list[table.Row]:
        rows = []
        with tempfile.TemporaryDirectory(dir=roots.CACHE, prefix="measure-") as folder:
            disk = table.make_disk(system, Path(folder))
            for cpu in system.measured_on:
                before = [row for row in baseline if (row.system, row.cpu) == (system.name, cpu)]
                found = table.measure(system, cpu, disk)
                if table.compare(found, before):
                    found = table.measure(system, cpu, disk)
                rows += found
        return rows

    with ThreadPoolExecutor(at_once) as pool:
        return [row for rows in pool.map(one, SYSTEMS) for row in rows]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.emulation",
        description="Build emulated Raspberry Pis in .pi/, install the runtime's wheel on them, "
        "test and measure it there, and compare with benchmarks/results/pi.json.",
        epilog="Exit status: 0 all well, 2 the emulators cannot be had, 3 a test failed or a "
        "figure is more than 2 % worse than the baseline.",
    )
    parser.add_argument("--measure", action="store_true", help="leave the tests out")
    parser.add_argument(
        "--page", action="store_true", help="run the commands of docs/raspberry-pi.md, no more"
    )
    parser.add_argument(
        "--baseline", action="store_true", help="make these figures the baseline: pi.json, pi.md"
    )
    arguments = parser.parse_args(argv)
    if arguments.page and (arguments.measure or arguments.baseline):
        raise EdgeError("--page measures nothing: leave out --measure and --baseline")
    return arguments


if __name__ == "__main__":
    sys.exit(exit_status(main))
