"""Explains the errors of an int8 artifact for `digit-edge benchmark-parity --explain`.

Three differences of scores are measured: from Keras to the float artifact (conversion), from float
to int8 (quantization), and from int8 reference kernels to optimized ones (kernels). Each int8 layer
is compared with the same layer of the float model. Both graphs are searched for known mistakes.
`benchmarks.worker` calls `explain` in a subprocess.
"""

import numpy as np

from benchmarks.harness.messages import ExplainRequest, Explanation
from benchmarks.quantization import onnx, tflite
from benchmarks.quantization.layer_stats import lint_layers, step
from runtime.model import artifact

# Suffix of an artifact → the module that reads the outputs of its layers; another suffix raises
# KeyError. ENGINE is the engine's name; QUANTIZATION and KERNELS describe
# these steps in the report.
_TRACERS = {".tflite": tflite, ".onnx": onnx}


def explain(job: ExplainRequest) -> Explanation:
    """Compare a float and an int8 artifact of one format on the same images.

    Args:
        job: the paths of the two artifacts (both .tflite or both .onnx), the images, and the scores
            of the Keras reference for these images.

    Returns:
        The three steps, the layers and the checks. `layers` is empty if the layers of the two
        graphs do not match.

    Raises:
        ArtifactError: an artifact is missing or damaged.
        BackendUnavailable: the engine is not installed, or does not list its operators.
    """
    tracer = _TRACERS[job.int8[job.int8.rindex(".") :]]
    pixels, keras_scores = np.load(job.pixels), np.load(job.scores)
    plain, int8 = tracer.Model(artifact.read(job.plain)), tracer.Model(artifact.read(job.int8))
    # literal=True runs the graph as stored in the file: TFLite with reference kernels, ONNX without
    # graph optimizations.
    plain_scores = plain.scores(pixels, literal=False)
    literal_plain_scores = plain.scores(pixels, literal=True)
    int8_scores = int8.scores(pixels, literal=False)
    literal_int8_scores = int8.scores(pixels, literal=True)
    steps = (
        step("conversion", "float artifact against Keras", keras_scores, plain_scores),
        step("quantization", tracer.QUANTIZATION, literal_plain_scores, literal_int8_scores),
        step("kernels", tracer.KERNELS, literal_int8_scores, int8_scores),
    )
    layers = tracer.layers(plain, int8, pixels)
    name = int8.artifact.path.name
    findings = (*tracer.lint(plain), *tracer.lint(int8), *lint_layers(name, layers))
    return Explanation(len(pixels), steps, layers, findings, name, tracer.ENGINE)
