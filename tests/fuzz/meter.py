"""Measure the processor time and the peak memory of a running process (Linux)."""

import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")  # unit of the times in /proc
_RESET_PEAK = "5"  # written to clear_refs: the peak becomes the present size; see proc(5)


class Meter:
    """Measures some processes together.

    Args:
        pids: numbers of the processes.
    """

    def __init__(self, *pids: int) -> None:
        self._folders = [Path(f"/proc/{pid}") for pid in pids]
        self.start()

    def start(self) -> None:
        """Start to measure anew."""
        for folder in self._folders:
            (folder / "clear_refs").write_text(_RESET_PEAK)
        self._before_s = self._cpu_s()

    def cpu_s(self) -> float:
        """Return the processor seconds since the start, of all threads and processes."""
        return self._cpu_s() - self._before_s

    def peak_mb(self) -> float:
        """Return the sum of the peaks of the resident memory, in megabytes."""
        total = 0
        for folder in self._folders:
            for line in (folder / "status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) * 1024
        return total / 1e6

    def _cpu_s(self) -> float:
        total = 0
        for folder in self._folders:
            # The name of the program, in parentheses, may contain spaces.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])  # user and system time
        return total / _TICKS_PER_S
