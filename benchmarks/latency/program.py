"""Measure the C program of `digit-edge export-c --layout program`: time and memory of one start.

`python -m benchmarks.latency.program` prints the table of docs/native.md. The time is that from
fork to exit. The empty program shows the share of the operating system.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from runtime.cli.exit_status import exit_status
from runtime.errors import EdgeError
from runtime.model import artifact
from runtime.model.default_model import PRETRAINED

_STARTS = 500  # starts of each program
_FRAME_SIDE_PX = 280  # of the gray frame, which the program converts to MNIST's format
# Starts a program repeatedly and prints wall time and processor time in µs, and peak resident
# memory in KiB. In C, because a process inherits the peak of its parent, and Python's is 10 MB.
_LAUNCHER = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}
static double us(struct timeval t) { return t.tv_sec * 1e6 + t.tv_usec; }
int main(int count, char **arguments)
{
    for (int n = atoi(arguments[1]); n > 0; n--) {
        const double start = now();
        struct rusage usage;
        int status;
        const pid_t child = vfork();
        if (child == 0) {
            dup2(open("/dev/null", O_WRONLY), 1);
            execv(arguments[2], arguments + 2);
            _exit(127);
        }
        if (wait4(child, &status, 0, &usage) != child || status != 0) {
            return 1;
        }
        printf("%f %f %ld\n", now() - start, us(usage.ru_utime) + us(usage.ru_stime),
               usage.ru_maxrss);
    }
    return count < 3;
}
"""


def main() -> int:
    """Print the table.

    Raises:
        EdgeError: the C compiler is missing, or a program fails.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise EdgeError("the C compiler cc is missing: apt install gcc libc6-dev")
    with tempfile.TemporaryDirectory(prefix="digit-edge-") as name:
        folder = Path(name)
        _run([sys.executable, "-m", "export.c", "--layout", "program", "--out", name])
        sources = [folder / "digits" / file for file in ("main.c", "digits.c")]
        _run([compiler, "-O3", "-static", *sources, "-o", folder / "digits-static"])
        _run([compiler, "-O3", *sources, "-o", folder / "digits-dynamic"])
        (folder / "empty.c").write_text("int main(void) { return 0; }\n")
        _run([compiler, "-O3", "-static", folder / "empty.c", "-o", folder / "empty"])
        (folder / "launch.c").write_text(_LAUNCHER)
        _run([compiler, "-O2", "-static", folder / "launch.c", "-o", folder / "launch"])
        raw, frame = _images(folder)
        print("| program | input | minimum, ms | median, ms | processor time, ms | resident, MB |")
        print("|---|---|---:|---:|---:|---:|")
        for title, command in (
            ("empty, static", ["empty"]),
            ("digits, static", ["digits-static", raw]),
            ("digits, static", ["digits-static", frame]),
            ("digits, dynamic", ["digits-dynamic", raw]),
        ):
            printed = _run([folder / "launch", str(_STARTS), folder / command[0], *command[1:]])
            rows = [[float(number) for number in line.split()] for line in printed.splitlines()]
            wall, processor, resident = zip(*rows, strict=True)
            cells = [title, Path(command[1]).name if command[1:] else "–"]
            cells += [f"{us / 1e3:.2f}" for us in (min(wall), statistics.median(wall))]
            cells += [f"{min(processor) / 1e3:.2f}", f"{max(resident) * 1024 / 1e6:.2f}"]
            print(f"| {' | '.join(cells)} |")
    return 0


def _images(folder: Path) -> tuple[str, str]:
    """Write a golden image as raw pixels and, enlarged, as a PGM frame; return both paths."""
    golden = artifact.read(PRETRAINED / "digits-int8.tflite").spec.golden
    assert golden is not None
    pixels = golden.pixels[0, :, :, 0]
    raw, frame = folder / "raw-28x28", folder / f"frame-{_FRAME_SIDE_PX}x{_FRAME_SIDE_PX}.pgm"
    raw.write_bytes(pixels.tobytes())
    Image.fromarray(255 - pixels).resize((_FRAME_SIDE_PX, _FRAME_SIDE_PX)).save(frame)
    return str(raw), str(frame)


def _run(command: list[str | Path]) -> str:
    """Run a command and return its standard output."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise EdgeError(f"{command[0]}: exit status {done.returncode}; output: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(exit_status(main))
