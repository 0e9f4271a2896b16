"""`limit_memory` bounds a process, also under the system-call filter of the systemd units."""

import platform
import subprocess
import sys

import pytest

MB = 1_000_000
# Forbids the system call setrlimit, as `SystemCallFilter=~@resources` does. The instructions of BPF
# load the number of the call, and return the error EPERM if it is that of setrlimit.
FILTER = """
import ctypes, errno, struct
number = {"x86_64": 160, "aarch64": 164}[MACHINE]
program = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | errno.EPERM),
        (0x06, 0, 0, 0x7FFF0000),
    )
)
buffer = ctypes.create_string_buffer(program)
pointer = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.create_string_buffer(pointer), 0, 0) == 0, ctypes.get_errno()
assert libc.syscall(number, 2, None) == -1
assert ctypes.get_errno() == errno.EPERM
"""


def limited(script: str) -> str:
    script = "from runtime.system.host import limit_memory\n" + script
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


TRY = (
    f"limit_memory({50 * MB})\n"
    f"bytearray({40 * MB})\n"
    "try:\n"
    f"    bytearray({60 * MB})\n"
    "except MemoryError:\n"
    "    print('limited')\n"
)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA limits mappings on Linux only")
def test_memory_is_limited():
    assert limited(TRY) == "limited\n"


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="the numbers of system calls are those of 64-bit Linux",
)
def test_memory_is_limited_under_the_filter_of_the_units():
    assert limited(FILTER.replace("MACHINE", repr(platform.machine())) + TRY) == "limited\n"


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA limits mappings on Linux only")
def test_lower_limit_of_the_system_is_kept():
    lower = "import resource\nresource.setrlimit(resource.RLIMIT_DATA, (10**9, 10**9))\n"
    script = f"{lower}limit_memory({10**12})\nprint(resource.getrlimit(resource.RLIMIT_DATA))"
    assert limited(script) == f"({10**9}, {10**9})\n"
