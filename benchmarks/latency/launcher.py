"""Starts a program and prints when its first line of output came and its largest resident size.

A process of its own, and a small one: the size that the system reports for a program is at least
that of the process which started it. Standard library only; runs without site-packages.
"""

import json
import os
import subprocess
import sys
import time


def main(command: list[str]) -> int:
    """Prints [nanoseconds to the first line, bytes]; ends with the program's status."""
    began = time.perf_counter_ns()
    program = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.readline()
    first_line_ns = time.perf_counter_ns() - began
    program.stdout.read()
    _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps([first_line_ns, usage.ru_maxrss * unit]))
    return program.returncode & 0xFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
