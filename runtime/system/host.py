"""Query this machine: usable cores, memory, temperature, and a Raspberry Pi's throttling flags.

`digit-edge selftest` and the benchmarks report these values; `digit-edge classify` and the server
`digit-edge serve` use the cores and the memory. Values that the system does not report are 0 or
empty.
"""

import os
import platform
from contextlib import suppress
from pathlib import Path

# Most files and connections of a server; it holds 256 connections, and accepts up to 1024 at once
# before it closes idle ones.
_OPEN_FILES = 4096
_M_MMAP_THRESHOLD = -3  # parameter number of mallopt, from glibc's malloc.h
_M_ARENA_MAX = -8  # parameter number of mallopt, from glibc's malloc.h
_MAX_ARENAS = 1  # number of heaps: all threads share one heap
# Memory for decoding and reading an image, and for a reloaded model; see `limit_memory`. With a
# program of 60 MB, the sum is 260 MB.
IMAGE_BYTES = 200_000_000
# Larger blocks are returned to the system when they are freed. Smaller blocks stay in the heap,
# which is faster.
_MMAP_THRESHOLD_BYTES = 8 << 20

# Bits of a Raspberry Pi's `get_throttled` and their meaning.
# Source: https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd
_FLAG_BITS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
_SINCE_START_SHIFT = 16  # bit n + 16: the state of bit n has occurred since the start
_THROTTLED_FILE = "devices/platform/soc/soc:firmware/get_throttled"  # below /sys; the flags in hex


def usable_cores() -> int:
    """Return the number of cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory_bytes() -> int:
    """Return the peak resident size of this process in bytes; 0 if unknown.

    On Linux the value is VmHWM, which starts at 0 in each program. `ru_maxrss` is not used, because
    a program inherits it from the parent process.
    """
    for line in text("/proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    if platform.system() == "Darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 0


def celsius(sys: Path = Path("/sys")) -> float:
    """Return the temperature in °C of the first thermal zone, usually the processor; 0 if unknown.

    Args:
        sys: folder in which sysfs is mounted.
    """
    try:
        return int(text(sys / "class/thermal/thermal_zone0/temp")) / 1000
    except ValueError:
        return 0.0


def throttled(sys: Path = Path("/sys")) -> str:
    """Return a Raspberry Pi's `get_throttled` flags, such as "0x50005"; empty on other machines.

    The bits are explained in `_FLAG_BITS`; `describe_throttled` puts them into words.

    Args:
        sys: folder in which sysfs is mounted.
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
    """Return the flags of `throttled` in words: "under-voltage now; throttled since the start".

    Args:
        flags: a hexadecimal number; any other text is quoted in the result.
    """
    try:
        bits = int(flags, 16)
    except ValueError:
        return f"unknown throttling flags {flags!r}"
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
    """Return the size in bytes of this process's data segment; 0 if unknown.

    RLIMIT_DATA limits this size.
    """
    for line in text("/proc/self/status").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def raise_open_file_limit() -> None:
    """Let this process open as many files and connections as the system allows, up to 4096.

    The usual soft limit, 1024, is for programs that call select(2). A server that reaches it cannot
    accept connections, not even to close idle ones.
    """
    try:
        import resource  # here, because Windows does not have this module
    except ModuleNotFoundError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # a container may forbid the call
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit_memory(allowed: int) -> None:
    """Limit how much the data segment of this process may grow from now on.

    Beyond it, allocations fail, and an image whose decoder needs more is rejected. systemd's
    `SystemCallFilter=~@resources` does not forbid this: the C library calls prlimit64, which is
    always permitted. macOS and Windows do not support the limit.

    Args:
        allowed: number of bytes.
    """
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [data_bytes() + allowed, *(size for size in (soft, hard) if size >= 0)]
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))


def return_freed_memory() -> None:
    """Make glibc return blocks of more than 8 MiB to the system as soon as they are freed.

    By default glibc has several heaps and keeps the free memory between the used blocks of a heap.
    After some large images, a server would hold twice the memory that it uses. With other C
    libraries the function has no effect.
    """
    import ctypes  # here, because few programs need it

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # not glibc
    mallopt(_M_ARENA_MAX, _MAX_ARENAS)
    mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
