"""python3 measure.py ENGINE…: what each installed engine costs, in instructions and bytes.

Runs in full-system mode, where a nanosecond of the clock is an instruction. Prints one JSON object
an engine.
"""

import glob
import json
import os
import subprocess
import sys
import time

HOME = "/home/pi"
# In a process of its own, for each model: load, then one image at a time; of the second half, where
# all is warm. Before that, the very command that is measured next: then all its files are cached. A
# wait for the disk would count, for while nothing runs the clock leaps to the next alarm.
_INFERENCE = """
import contextlib, runpy, sys, time
from runtime import Classifier
backend, *paths = sys.argv[1:]
sys.argv[1:] = ["/pi/digit.png"]
with contextlib.suppress(SystemExit):
    runpy.run_module("runtime", run_name="__main__", alter_sys=True)
for path in paths:
    classifier = Classifier.load(path, backend=backend)
    image = classifier.spec.golden.pixels[:1]
    for part in range(2):
        start = time.perf_counter_ns()
        for call in range(10):
            classifier.scores(image)
        count = (time.perf_counter_ns() - start) / 10
    print(round(count), classifier.backend.version)
"""
_MODELS = {
    "litert": ("litert", "digits.tflite", "digits-int8.tflite"),
    "tflite": ("tflite-runtime", "digits.tflite", "digits-int8.tflite"),
    "onnx": ("onnxruntime", "digits.onnx", "digits-int8.onnx"),
}


def main(engines: list[str]) -> None:
    """Print a line for each engine."""
    for engine in engines:
        python = f"{HOME}/{engine}/env/bin/python"
        backend, float32, int8 = _MODELS[engine]
        (folder,) = glob.glob(f"{HOME}/{engine}/env/lib/python3*/site-packages/runtime/pretrained")
        models = (f"{folder}/{float32}", f"{folder}/{int8}")
        said = subprocess.check_output([python, "-c", _INFERENCE, backend, *models], text=True)
        (first, version), (second, _) = map(str.split, said.splitlines()[-2:])
        start_instructions, resident_bytes = _cost([python, "-m", "runtime", "/pi/digit.png"])
        row = {
            "engine": engine,
            "version": version,
            "start_instructions": start_instructions,
            "resident_bytes": resident_bytes,
            "inference_instructions": {"float32": int(first), "int8": int(second)},
        }
        print("PI-ROW", json.dumps(row), flush=True)


def _cost(command: list[str]) -> tuple[int, int]:
    """Instructions and the largest resident size, in bytes, of a process."""
    start = time.perf_counter_ns()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{command}: status {child.returncode}")
    return time.perf_counter_ns() - start, used.ru_maxrss * 1024


if __name__ == "__main__":
    main(sys.argv[1:])
