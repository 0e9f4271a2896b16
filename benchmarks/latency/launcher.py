"""Runs a program; prints the time until its first line of output and its peak resident memory.

`benchmarks.latency.cli_startup` starts this file as a script. The script imports only the standard
library, to use little memory. The operating system reports for a program at least the peak memory
of its parent process, and the script is the parent.
"""

import json
import os
import subprocess
import sys
import time


def main(command: list[str]) -> int:
    """Run a program; print the JSON array [nanoseconds until the first line, peak bytes].

    The other output of the program is discarded.

    Args:
        command: the program and its arguments.

    Returns:
        The exit status of the program, 0 to 255; after a signal, 256 minus its number.
    """
    start_ns = time.perf_counter_ns()
    program = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.readline()
    first_line_ns = time.perf_counter_ns() - start_ns
    program.stdout.read()
    _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    maxrss_unit_bytes = 1 if sys.platform == "darwin" else 1024  # macOS uses bytes, Linux KiB
    print(json.dumps([first_line_ns, usage.ru_maxrss * maxrss_unit_bytes]))
    return program.returncode & 0xFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
