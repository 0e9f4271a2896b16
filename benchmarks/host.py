"""The machine a benchmark ran on: what must match before two runs are compared."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Host:
    """A machine and its state; names of users and of the machine itself stay out of reports.

    Attributes:
        machine: the processor's architecture, "x86_64" or "aarch64".
        cpu: the processor's name, or the board's.
        cores: those this process may use.
        memory_bytes: physical memory; 0 where the system does not say.
        system: the operating system and its release.
        python, numpy: versions.
        governor: the frequency governor; empty where the system does not say, as in most virtual
            machines.
        mhz: the frequency of the first core now; 0 where the system does not say.
        celsius: the first thermal zone; 0 where the system does not say.
        throttled: a Raspberry Pi's `get_throttled` flags; empty elsewhere.
        gpu: the graphics cards that NVIDIA's driver names; empty without it.
        load: processes that ran or waited to run in the last minute, on average.
    """

    machine: str
    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    numpy: str
    governor: str
    mhz: int
    celsius: float
    throttled: str
    load: float
    gpu: str = ""

    def identity(self) -> tuple[str, str, int, str]:
        """What two runs must share for their timings to be comparable."""
        return self.machine, self.cpu, self.cores, self.system.split()[0]


def describe() -> Host:
    """The machine as it is now."""
    import numpy as np

    return Host(
        machine=platform.machine(),
        cpu=_cpu(),
        cores=usable_cores(),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        numpy=np.__version__,
        governor=_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        mhz=_mhz(),
        celsius=int(_text("/sys/class/thermal/thermal_zone0/temp") or 0) / 1000,
        throttled=_said("vcgencmd", "get_throttled").partition("=")[2],
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
        gpu=", ".join(
            _said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
        ),
    )


def usable_cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory_bytes() -> int:
    """The largest resident size of this process so far; 0 where the system does not say.

    Linux's VmHWM begins anew when a program is started; `ru_maxrss` does not, and would report
    the parent's size.
    """
    for line in _text("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    if platform.system() == "Darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace").strip().strip("\0")
    except OSError:
        return ""


def _cpu() -> str:
    board = _text("/proc/device-tree/model")
    if board:
        return board
    for line in _text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _mhz() -> int:
    now = _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    if now:
        return int(now) // 1000
    for line in _text("/proc/cpuinfo").splitlines():
        if line.startswith("cpu MHz"):
            return int(float(line.partition(":")[2]))
    return 0


def _said(program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        return ""
    answer = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""
