"""The machine that the runtime is on: cores, memory, temperature, a Raspberry Pi's flags."""

import os
import platform
from pathlib import Path

# Parameters of mallopt in glibc's malloc.h.
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_MMAP_THRESHOLD_BYTES = 8 << 20  # smaller blocks are quicker from the heap

# What the bits of a Raspberry Pi's `get_throttled` mean; 16 bits higher, that it has happened
# since the start. Source: https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd
_FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_START = 16
_THROTTLED = "devices/platform/soc/soc:firmware/get_throttled"


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
    for line in text("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    if platform.system() == "Darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 0


def celsius(sys: Path = Path("/sys")) -> float:
    """The first thermal zone, the processor of a Raspberry Pi; 0 where the system does not say."""
    try:
        return int(text(sys / "class/thermal/thermal_zone0/temp")) / 1000
    except ValueError:
        return 0.0


def throttled(sys: Path = Path("/sys")) -> str:
    """A Raspberry Pi's `get_throttled` flags, "0x50005"; empty elsewhere."""
    import shutil
    import subprocess  # what reads an image need not load it

    flags = text(sys / _THROTTLED)
    if not flags and shutil.which("vcgencmd") is not None:
        answer = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, check=False
        )
        flags = answer.stdout.strip().partition("=")[2]
    return f"0x{flags.removeprefix('0x')}" if flags else ""


def describe_throttled(flags: str) -> str:
    """The flags of `throttled` in words: "under-voltage now; throttled since the start"."""
    try:
        bits = int(flags, 16)
    except ValueError:
        return f"flags {flags!r} of an unknown form"
    now = [word for bit, word in _FLAGS.items() if bits >> bit & 1]
    since = [word for bit, word in _FLAGS.items() if bits >> bit + _SINCE_START & 1]
    parts = [f"{', '.join(now)} now"] if now else []
    parts += [f"{', '.join(since)} since the start"] if since else []
    return "; ".join(parts) or "not throttled"


def text(path: str | os.PathLike[str]) -> str:
    """A small file of the system's, stripped; empty where it is absent."""
    try:
        return Path(path).read_text("utf-8", "replace").strip().strip("\0")
    except OSError:
        return ""


def data_bytes() -> int:
    """Return the size that RLIMIT_DATA limits, used or not; 0 if the system does not tell."""
    for line in text("/proc/self/status").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def return_freed_memory() -> None:
    """Have the C library give large blocks back to the system as soon as they are freed.

    glibc has a heap for each thread, and keeps free memory between two used blocks of a heap: after
    some large images a server holds twice the memory that it uses. Other C libraries: no effect.
    """
    import ctypes  # few programs need it

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # not glibc
    for parameter, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)):
        mallopt(parameter, value)
