"""Where an int8 artefact's differences come from: conversion, quantisation, kernels, which layer.

Runs in a process of its own, with the engine that opens the format.
"""

from benchmarks import explain_onnx, explain_tflite
from benchmarks.jobs import ExplainJob, Explanation, Finding
from runtime.artefact import Artefact

_TRACERS = {".tflite": explain_tflite, ".onnx": explain_onnx}


def explain(job: ExplainJob) -> Explanation:
    """Trace the float and the int8 artefact, of one format, over the same images.

    Raises:
        ArtefactError: one of them is missing or damaged.
        BackendUnavailable: the format's engine is not installed, or shows too little of itself.
    """
    return _TRACERS[job.int8[job.int8.rindex(".") :]].trace(job)


def lint(opened: Artefact) -> tuple[Finding, ...]:
    """Check one artefact's graph, as the engine opens it."""
    return _TRACERS[opened.format].lint(opened)
