"""Measure each installed engine on an emulated Pi: instructions and resident memory.

Usage: python3 measure.py ENGINE…. `deploy.emulation.table` runs this script in QEMU's full-system
mode. Its option -icount shift=0 advances the clock by one nanosecond per instruction. The script
prints one line `PI-ROW {…JSON…}` per engine.
"""

import glob
import json
import os
import subprocess
import sys
import time

HOME = "/home/pi"  # contains one folder per engine, made by install-pi.sh
KIB_BYTES = 1024  # the unit of the kernel's memory figures (ru_maxrss in getrusage(2)) is KiB

# Program for a separate process. Its arguments are the engine and the engine's model files. First,
# the program runs `digit-edge classify` once, so that the files of this command are cached for the
# next measurement. Reading these files from the disk would count as instructions: while the system
# waits, the clock jumps to the next timer. Then the program loads each model and runs 10 inferences
# to warm up. It prints the mean number of instructions of 10 further inferences, of one image each,
# and the version of the engine.
_INFERENCE = """
import contextlib, runpy, sys, time
from digit_edge import Classifier
backend, *paths = sys.argv[1:]
sys.argv[1:] = ["/pi/digit.png"]
with contextlib.suppress(SystemExit):
    runpy.run_module("digit_edge.runtime", run_name="__main__", alter_sys=True)
for path in paths:
    classifier = Classifier.load(path, backend=backend)
    image = classifier.spec.golden.pixels[:1]
    for warm in (False, True):
        start = time.perf_counter_ns()
        for call in range(10):
            classifier.scores(image)
        count = (time.perf_counter_ns() - start) / 10
    print(round(count), classifier.backend.version)
"""
# Extra of an engine → (the engine's name in the runtime, precision → model).
_MODELS = {
    "litert": ("litert", {"float32": "digits.tflite", "int8": "digits-int8.tflite"}),
    "tflite": ("tflite-runtime", {"float32": "digits.tflite", "int8": "digits-int8.tflite"}),
    "onnx": ("onnxruntime", {"float32": "digits.onnx", "int8": "digits-int8.onnx"}),
    "native": ("native", {"int8": "digits-int8.c"}),
}


def main(engines: list[str]) -> None:
    """Print one line of figures per engine.

    Args:
        engines: installed engines, by the names of the package's extras.
    """
    for engine in engines:
        python = f"{HOME}/{engine}/env/bin/python"
        backend, models = _MODELS[engine]
        (folder,) = glob.glob(
            f"{HOME}/{engine}/env/lib/python3*/site-packages/digit_edge/runtime/pretrained"
        )
        paths = [f"{folder}/{model}" for model in models.values()]
        printed = subprocess.check_output([python, "-c", _INFERENCE, backend, *paths], text=True)
        lines = [line.split() for line in printed.splitlines()[-len(paths) :]]
        start_instructions, resident_bytes = _run_counted(
            [python, "-m", "digit_edge.runtime", "/pi/digit.png"]
        )
        row = {
            "engine": engine,
            "version": lines[0][1],
            "start_instructions": start_instructions,
            "resident_bytes": resident_bytes,
            "inference_instructions": {
                precision: int(line[0]) for precision, line in zip(models, lines, strict=True)
            },
        }
        print("PI-ROW", json.dumps(row), flush=True)


def _run_counted(command: list[str]) -> tuple[int, int]:
    """Run a command.

    Returns:
        (number of instructions, peak resident memory in bytes).
    """
    start = time.perf_counter_ns()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)}: exit status {child.returncode}")
    return time.perf_counter_ns() - start, usage.ru_maxrss * KIB_BYTES


if __name__ == "__main__":
    main(sys.argv[1:])
