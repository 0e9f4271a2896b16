"""Runs a program; prints the time until its first line of output and its peak resident memory.

Started as a script by `cli_startup`, with the standard library alone. It is a separate small
process because the system reports for a program at least the peak memory of its parent process.
"""

import json
import os
import subprocess
import sys
import time


def main(command: list[str]) -> int:
    """Run `command`; print the JSON array [ns until the first line, peak bytes].

    Returns:
        The exit status of the program.
    """
    start_ns = time.perf_counter_ns()
    program = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.readline()
    first_line_ns = time.perf_counter_ns() - start_ns
    program.stdout.read()
    _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    maxrss_unit_bytes = 1 if sys.platform == "darwin" else 1024
    print(json.dumps([first_line_ns, usage.ru_maxrss * maxrss_unit_bytes]))
    return program.returncode & 0xFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
