"""Measure the engine native with each of its instruction sets beside bare LiteRT, in one run.

`python -m benchmarks.latency.instruction_sets` prints the table of docs/native.md. Bare LiteRT is
the engine's own API without this project's code.
"""

import statistics
import sys
import time
from collections.abc import Callable

from benchmarks.latency.engine_only import open_artifact
from runtime import Classifier
from runtime.backends.native import INSTRUCTION_SETS, NativeBackend
from runtime.model import artifact
from runtime.model.default_model import PRETRAINED

_CALLS = 4000  # calls of each function, in turns
_SLOW_CALLS = 100  # the same for the portable code, which is 60 times slower


def main() -> int:
    """Print the minimum and the median time of one image for each instruction set."""
    litert = open_artifact(artifact.read(PRETRAINED / "digits-int8.tflite"), "litert", 1)
    with_litert = Classifier.load(PRETRAINED / "digits-int8.tflite", backend="litert")
    with_native = Classifier.load(PRETRAINED / "digits-int8.c")
    native = with_native.backend
    assert litert is not None
    assert isinstance(native, NativeBackend)
    assert native.spec.golden is not None
    pixels = native.spec.golden.pixels[:1]
    prepared = litert.prepare(pixels)
    data = pixels.tobytes()
    print("| engine, called from Python | minimum, µs | median, µs | of bare LiteRT's median |")
    print("|---|---:|---:|---:|")
    for name in INSTRUCTION_SETS:
        if native.choose_instructions(name) is None:
            continue
        calls = _SLOW_CALLS if name == "portable" else _CALLS
        bare, classified, ours, whole, ours_classified = _times(
            calls,
            lambda: litert.run(prepared),
            lambda: with_litert.classify(pixels[0]),
            lambda: native.run(data, 1, None),
            lambda: native.scores(pixels),
            lambda: with_native.classify(pixels[0]),
        )
        unit = statistics.median(bare)
        for row, values in (
            ("bare LiteRT", bare),
            ("`Classifier.classify` with LiteRT", classified),
            (f"bare native, {name}", ours),
            (f"`scores` of native, {name}", whole),
            (f"`Classifier.classify` with native, {name}", ours_classified),
        ):
            median = statistics.median(values)
            print(f"| {row} | {min(values):.1f} | {median:.1f} | {median / unit:.2f} |")
    return 0


def _times(calls: int, *functions: Callable[[], object]) -> list[list[float]]:
    """Call the functions in turns; return the times of each in µs."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(calls):
        for values, function in zip(times, functions, strict=True):
            start = time.perf_counter_ns()
            function()
            values.append((time.perf_counter_ns() - start) / 1e3)
    return times


if __name__ == "__main__":
    sys.exit(main())
