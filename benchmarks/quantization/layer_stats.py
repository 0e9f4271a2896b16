"""Computes error statistics of an int8 artifact's layers, and checks them (lint).

The other modules of `benchmarks.quantization` use this module. The statistics of a layer are its
signal-to-noise ratio, saturated values, used share of the int8 range, and silent channels. A failed
check gets a remark in the report and never fails a run.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness.messages import ErrorSource, Layer, LintFinding
from runtime.backends import Scores
from runtime.model.artifact import Artifact
from runtime.model.spec import QuantizationParams

# Images per call of an engine; more images are split into several calls. The limit keeps the memory
# small, because an engine keeps the outputs of all layers.
BATCH = 50
SIGN_BIT = 0x80  # XOR with it turns a uint8 code c into the bits of the int8 code c − 128
_INT8_MIN = -128  # the lowest int8 code
_INT8_MAX = 127  # the highest int8 code
_MIN_RANGE_SHARE = 0.5  # a layer that uses a smaller share of the int8 range gets a remark

# A layer gets a remark if a larger share of its values is at an end of the int8 range.
_MAX_SATURATION_SHARE = 0.01
# A remark is made if the largest class of calibration images has more than this times the images of
# the smallest.
_MAX_CLASS_RATIO = 2


def step(name: str, detail: str, before: Scores, after: Scores) -> ErrorSource:
    """Return the change of the scores that one step causes.

    Args:
        name: the name of the step.
        detail: a description of the two models that are compared.
        before: the scores before the step, (N, classes) float32.
        after: the scores of the same images after the step, (N, classes) float32.

    Returns:
        The step with the largest and mean absolute differences of a score, and the number of images
        that are predicted differently.
    """
    difference = np.abs(before.astype(np.float64) - after)
    flips = int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
    return ErrorSource(name, detail, float(difference.max()), float(difference.mean()), flips)


def real(codes: npt.NDArray[Any], quantization: tuple[float, int]) -> npt.NDArray[np.float32]:
    """Dequantize int8 codes: (code − zero point) · scale.

    Args:
        codes: int8 codes, or float values, which are returned unchanged; of any shape.
        quantization: (scale, zero point) of the codes; ignored for float values.

    Returns:
        float32 of the same shape.
    """
    scale, zero_point = quantization
    if codes.dtype != np.int8:
        return codes.astype(np.float32)
    values: npt.NDArray[np.float32] = (codes.astype(np.float32) - zero_point) * np.float32(scale)
    return values


class LayerStats:
    """Accumulates the error statistics of one operator's output over the batches of images.

    Attributes:
        channel_axis: the axis of the channels in the output.
        signal: sum of the squared float outputs.
        noise: sum of the squared differences between float and dequantized int8 outputs.
        count: number of values.
        saturated: number of values at an end of the int8 range. If the zero point is −128, the code
            −128 is not counted.
        min_code: the lowest int8 code that occurs.
        max_code: the highest int8 code that occurs.
        active: (channels,) bool, True if the float output of the channel is not 0 for at least one
            image; None before the first batch.
    """

    def __init__(self, channel_axis: int) -> None:
        self.channel_axis = channel_axis
        self.signal = 0.0
        self.noise = 0.0
        self.count = 0
        self.saturated = 0
        self.min_code = _INT8_MAX
        self.max_code = _INT8_MIN
        self.active: npt.NDArray[np.bool_] | None = None

    def add(
        self, expected: npt.NDArray[Any], codes: npt.NDArray[Any], quantization: tuple[float, int]
    ) -> None:
        """Add a batch of images.

        Args:
            expected: the float model's output, float32; its first axis is that of the images.
            codes: the int8 model's output, int8 of the same shape.
            quantization: (scale, zero point) of the codes.
        """
        exact = expected.astype(np.float64)
        self.signal += float((exact**2).sum())
        self.noise += float(((exact - real(codes, quantization)) ** 2).sum())
        self.count += codes.size
        self.saturated += int((codes == _INT8_MAX).sum())
        # At a zero point of −128 the lowest code is the true zero of a ReLU, not a clipped value.
        if quantization[1] > _INT8_MIN:
            self.saturated += int((codes == _INT8_MIN).sum())
        self.min_code = min(self.min_code, int(codes.min()))
        self.max_code = max(self.max_code, int(codes.max()))
        channels = np.moveaxis(expected, self.channel_axis, -1)
        active = np.any(channels != 0, axis=tuple(range(expected.ndim - 1)))
        self.active = active if self.active is None else self.active | active

    def layer(self, name: str, operator: str) -> Layer:
        """Return the statistics of all batches that were added.

        Args:
            name: the name of the layer.
            operator: the type of its operator, as the format calls it: CONV_2D or Conv.

        Returns:
            The layer; its `snr_db` is None if the two outputs are equal, or the float output is 0
            everywhere.
        """
        active = self.active if self.active is not None else np.zeros(0, bool)
        snr = self.signal / self.noise if self.noise and self.signal else 0.0
        return Layer(
            name=name,
            operator=operator,
            snr_db=10 * float(np.log10(snr)) if snr else None,
            saturation=self.saturated / max(1, self.count),
            range_used=(self.max_code - self.min_code) / (_INT8_MAX - _INT8_MIN),
            channels=len(active),
            silent_channels=int((~active).sum()),
        )


def lint_quantization(
    opened: Artifact,
    graph_params: tuple[QuantizationParams, QuantizationParams | None] | None,
) -> list[LintFinding]:
    """Compare the input and output scales of the graph with the spec, and check calibration.

    Args:
        opened: the artifact.
        graph_params: the quantization of the graph's input and of its output. The second is None if
            the output is float. The whole value is None if the graph is float.

    Returns:
        Three findings: input scale, output scale and calibration; none for a float artifact.
    """
    name, quantization = opened.path.name, opened.spec.quantization
    if quantization is None:
        return []
    findings = []
    spec_params = (quantization.input, quantization.output)
    for index, check in enumerate(("input scale", "output scale")):
        if graph_params is None:
            findings.append(
                LintFinding(name, check, False, "the graph is float, but the spec says int8")
            )
            continue
        in_graph, in_spec = graph_params[index], spec_params[index]
        fine = _float32(in_graph) == _float32(in_spec)
        detail = _format_params(in_graph)
        if not fine:
            detail += f", but the spec says {_format_params(in_spec)}"
        findings.append(LintFinding(name, check, fine, detail))
    return [*findings, _lint_calibration(opened)]


def _float32(params: QuantizationParams | None) -> tuple[float, int] | None:
    """Return (scale, zero point) with the scale rounded to float32, as the graph stores it."""
    return (float(np.float32(params.scale)), params.zero_point) if params else None


def _format_params(params: QuantizationParams | None) -> str:
    """Return scale and zero point as text; "float" for None."""
    return f"{params.scale:.6g}, zero point {params.zero_point}" if params else "float"


def _lint_calibration(opened: Artifact) -> LintFinding:
    """Check that the calibration images cover all classes about equally."""
    quantization = opened.spec.quantization
    assert quantization is not None
    name, counts = quantization.calibration.name, quantization.calibration_counts
    if not counts:
        detail = f"{name}; unknown number of images per class: export the artifact again"
        return LintFinding(opened.path.name, "calibration", True, detail)
    missing = [label for label, n in zip(opened.spec.labels, counts, strict=True) if not n]
    smallest, largest = min(counts), max(counts)
    per_class = f"{smallest}" if smallest == largest else f"{smallest} to {largest}"
    detail = f"{name}, {per_class} of each class"
    if missing:
        detail = f"{name}, none of {', '.join(missing)}"
    fine = not missing and largest <= _MAX_CLASS_RATIO * smallest
    return LintFinding(opened.path.name, "calibration", fine, detail)


def lint_layers(artifact: str, layers: tuple[Layer, ...]) -> list[LintFinding]:
    """Find layers with weights that saturate, use little of the int8 range, or have dead channels.

    Args:
        artifact: the file name, for the findings.
        layers: all layers; layers without weights are ignored.

    Returns:
        Three findings: saturation, range used and silent channels. Each lists the names of the
        layers that fail the check.
    """
    layers = tuple(layer for layer in layers if layer.weighted)
    saturated = [layer.name for layer in layers if layer.saturation > _MAX_SATURATION_SHARE]
    narrow = [layer.name for layer in layers if layer.range_used < _MIN_RANGE_SHARE]
    silent = [layer.name for layer in layers if layer.silent_channels]
    return [
        LintFinding(artifact, check, not bad_layers, ", ".join(bad_layers) or fine_detail)
        for check, bad_layers, fine_detail in (
            (
                "saturation",
                saturated,
                f"≤ {100 * _MAX_SATURATION_SHARE:g} % of each layer's values",
            ),
            (
                "range used",
                narrow,
                f"≥ {100 * _MIN_RANGE_SHARE:g} % of the int8 range in each layer",
            ),
            ("silent channels", silent, "none"),
        )
    ]
