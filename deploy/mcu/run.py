"""Measures the model on all targets: the work of `python -m deploy.mcu`."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.mcu import measure, toolchain
from deploy.mcu.table import Row
from deploy.mcu.targets import OPTIMIZATIONS, TARGETS, Target
from deploy.mcu.toolchain import Toolchain

AT_ONCE = 2  # emulators; instructions are counted, so they do not disturb each other


def measure_all() -> list[Row]:
    """Return the rows of this machine and of every target at every optimization.

    Raises:
        MissingPrerequisite: the compilers or QEMU cannot be fetched.
        EdgeError: a compiler warns, or a program does not end by itself.
    """
    root = toolchain.install()
    wanted = measure.expected()

    def one(target: Target, optimization: str) -> Row:
        with tempfile.TemporaryDirectory(prefix="mcu-") as name:
            folder = Path(name)
            measure.write_sources(folder)
            tools = Toolchain(root, folder)
            return measure.on_target(target, optimization, tools, folder, wanted)

    jobs = [(target, option) for target in TARGETS for option in OPTIMIZATIONS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        measured = pool.map(lambda job: one(*job), jobs)
        with tempfile.TemporaryDirectory(prefix="mcu-") as name:
            measure.write_sources(Path(name))
            host = measure.on_host(Path(name), wanted)
        return [host, *measured]
