"""Measure the published model on this machine and on all emulated microcontrollers.

`python -m deploy.mcu` calls `measure_all`.
"""

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

    def measure_one(target: Target, optimization: str) -> Row:
        with tempfile.TemporaryDirectory(prefix="mcu-") as name:
            folder = Path(name)
            measure.write_sources(folder)
            tools = Toolchain(root, folder)
            return measure.on_target(target, optimization, tools, folder, wanted)

    jobs = [(target, option) for target in TARGETS for option in OPTIMIZATIONS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        measured = pool.map(lambda job: measure_one(*job), jobs)
        with tempfile.TemporaryDirectory(prefix="mcu-") as name:
            measure.write_sources(Path(name))
            host = measure.on_host(Path(name), wanted)
        return [host, *measured]
