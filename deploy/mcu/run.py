"""Measure the published model on this machine and on all emulated microcontrollers.

`python -m deploy.mcu` calls `measure_all`.
"""

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.mcu import measure, toolchain
from deploy.mcu.table import Row
from deploy.mcu.targets import OPTIMIZATIONS, TARGETS, Target
from deploy.mcu.toolchain import Toolchain

# Number of emulators that run at the same time. They do not change each other's results, because
# instructions are counted and time is not measured.
AT_ONCE = 2


def measure_all() -> list[Row]:
    """Measure this machine, and every target with every optimization option.

    Returns:
        The row of this machine, then the rows in the order of `TARGETS` and `OPTIMIZATIONS`.

    Raises:
        MissingPrerequisite: the compilers or QEMU cannot be downloaded.
        EdgeError: a compiler prints a warning, or a program or emulator fails.
    """
    root = toolchain.install()
    wanted = measure.expected()
    jobs = [(target, option) for target in TARGETS for option in OPTIMIZATIONS]
    with (
        tempfile.TemporaryDirectory(prefix="mcu-") as name,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        sources = Path(name) / "sources"
        measure.write_sources(sources)

        def measure_one(number: int, target: Target, optimization: str) -> Row:
            folder = Path(name) / str(number)
            shutil.copytree(sources, folder)
            tools = Toolchain(root, folder)
            return measure.on_target(target, optimization, tools, folder, wanted)

        measured = [pool.submit(measure_one, n, *job) for n, job in enumerate(jobs)]
        host = measure.on_host(sources, wanted)
        return [host, *(row.result() for row in measured)]
