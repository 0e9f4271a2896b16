"""Query this machine: usable cores, memory, temperature, and a Raspberry Pi's throttling flags.

Used by the self-test, the benchmarks and the server. Values that the system does not report are 0
or empty.
"""

import os
import platform
from pathlib import Path

_M_MMAP_THRESHOLD = -3  # parameter number of mallopt, from glibc's malloc.h
_M_ARENA_MAX = -8  # parameter number of mallopt, from glibc's malloc.h
_MAX_ARENAS = 1  # all threads share one heap
_MMAP_THRESHOLD_BYTES = 8 << 20  # only larger blocks are returned; the heap is faster

# Bits of a Raspberry Pi's `get_throttled` and their meaning.
# Source: https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd
_FLAG_BITS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
_SINCE_START_SHIFT = 16  # a bit this much higher: the state has occurred since the start
_THROTTLED_FILE = "devices/platform/soc/soc:firmware/get_throttled"  # below /sys


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory_bytes() -> int:
    """Return the peak resident size of this process; 0 if unknown.

    Linux resets VmHWM when a program starts. It does not reset `ru_maxrss`, which could be the size
    of the parent process.
    """
    for line in text("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    if platform.system() == "Darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 0


def celsius(sys: Path = Path("/sys")) -> float:
    """Return the temperature of the first thermal zone, usually the processor; 0 if unknown.

    Args:
        sys: where sysfs is mounted.
    """
    try:
        return int(text(sys / "class/thermal/thermal_zone0/temp")) / 1000
    except ValueError:
        return 0.0


def throttled(sys: Path = Path("/sys")) -> str:
    """Return a Raspberry Pi's `get_throttled` flags, such as "0x50005"; empty on other machines.

    Args:
        sys: where sysfs is mounted.
    """
    import shutil
    import subprocess  # here, because classifying an image does not need it

    flags = text(sys / _THROTTLED_FILE)
    if not flags and shutil.which("vcgencmd") is not None:
        process = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, check=False
        )
        flags = process.stdout.strip().partition("=")[2]
    return f"0x{flags.removeprefix('0x')}" if flags else ""


def describe_throttled(flags: str) -> str:
    """Return the flags of `throttled` in words: "under-voltage now; throttled since the start"."""
    try:
        bits = int(flags, 16)
    except ValueError:
        return f"flags {flags!r} of an unknown form"
    now = [word for bit, word in _FLAG_BITS.items() if bits >> bit & 1]
    since = [word for bit, word in _FLAG_BITS.items() if bits >> bit + _SINCE_START_SHIFT & 1]
    parts = [f"{', '.join(now)} now"] if now else []
    parts += [f"{', '.join(since)} since the start"] if since else []
    return "; ".join(parts) or "not throttled"


def text(path: str | os.PathLike[str]) -> str:
    """Return the stripped content of a small system file; empty if it cannot be read."""
    try:
        return Path(path).read_text("utf-8", "replace").strip().strip("\0")
    except OSError:
        return ""


def data_bytes() -> int:
    """Return the size of this process's data segment, which RLIMIT_DATA limits; 0 if unknown."""
    for line in text("/proc/self/status").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def return_freed_memory() -> None:
    """Make glibc return large blocks to the system as soon as they are freed.

    By default glibc has one heap per thread and keeps free memory between used blocks of a heap.
    After some large images a server would hold twice the memory that it uses. With other C
    libraries the function has no effect.
    """
    import ctypes  # here, because few programs need it

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # not glibc
    mallopt(_M_ARENA_MAX, _MAX_ARENAS)
    mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
