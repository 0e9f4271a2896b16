"""Where an int8 artifact's differences come from: conversion, quantization, kernels, which layer.

Runs in a process of its own, with the engine that opens the format.
"""

import numpy as np

from benchmarks.harness.messages import ExplainRequest, Explanation
from benchmarks.quantization import onnx, tflite
from benchmarks.quantization.layer_stats import lint_layers, step
from runtime.model import artifact

# Each has a Model with `scores`, literal or as the engine runs it by itself; `layers` and `lint`.
_TRACERS = {".tflite": tflite, ".onnx": onnx}


def explain(job: ExplainRequest) -> Explanation:
    """Trace the float and the int8 artifact, of one format, over the same images.

    Raises:
        ArtifactError: one of them is missing or damaged.
        BackendUnavailable: the format's engine is not installed, or shows too little of itself.
    """
    tracer = _TRACERS[job.int8[job.int8.rindex(".") :]]
    pixels, reference = np.load(job.pixels), np.load(job.scores)
    plain, int8 = tracer.Model(artifact.read(job.plain)), tracer.Model(artifact.read(job.int8))
    literal = int8.scores(pixels, literal=True)
    steps = (
        step(
            "conversion",
            "float artifact against Keras",
            reference,
            plain.scores(pixels, literal=False),
        ),
        step("quantization", tracer.QUANTIZATION, plain.scores(pixels, literal=True), literal),
        step("kernels", tracer.KERNELS, literal, int8.scores(pixels, literal=False)),
    )
    layers = tracer.layers(plain, int8, pixels)
    name = int8.artifact.path.name
    findings = (*tracer.lint(plain), *tracer.lint(int8), *lint_layers(name, layers))
    return Explanation(len(pixels), steps, layers, findings, name, tracer.ENGINE)
