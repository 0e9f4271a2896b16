"""Computes error statistics of an int8 artifact's layers and lints them, for all engines.

The statistics are signal-to-noise ratio, saturation, range used, and silent channels.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness.messages import ErrorSource, Layer, LintFinding
from runtime.backends import Scores
from runtime.model.artifact import Artifact
from runtime.model.spec import QuantizationParams

BATCH = 50  # images per call; limits the memory, since all outputs of all layers are kept
_INT8_MIN = -128  # the lowest int8 code
_INT8_MAX = 127  # the highest int8 code
_MIN_RANGE_SHARE = 0.5  # of the int8 range; a layer that uses less gets a remark
_MAX_SATURATION_SHARE = 0.01  # of a layer's values; more at an end of the range gets a remark
_MAX_CLASS_RATIO = 2  # largest over smallest calibration class; a higher ratio gets a remark


def step(name: str, detail: str, before: Scores, after: Scores) -> ErrorSource:
    """Return the change of the scores that one step causes.

    Args:
        name: the name of the step.
        detail: the two models that are compared.
        before: the scores before the step, (N, classes).
        after: the scores of the same images after it.
    """
    difference = np.abs(before.astype(np.float64) - after)
    flips = int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
    return ErrorSource(name, detail, float(difference.max()), float(difference.mean()), flips)


def real(codes: npt.NDArray[Any], quantization: tuple[float, int]) -> npt.NDArray[np.float32]:
    """Dequantize int8 codes: (code − zero point) · scale; return float values unchanged.

    Args:
        codes: int8 codes or float values, of any shape.
        quantization: (scale, zero point).
    """
    scale, zero_point = quantization
    if codes.dtype != np.int8:
        return codes.astype(np.float32)
    values: npt.NDArray[np.float32] = (codes.astype(np.float32) - zero_point) * np.float32(scale)
    return values


class LayerStats:
    """Accumulates the error statistics of one operator's output over the batches.

    Attributes:
        channel_axis: the axis of the channels in the output.
        signal: sum of the squared float outputs.
        noise: sum of the squared differences between float and dequantized int8 outputs.
        count: number of values.
        saturated: number of values at an end of the int8 range.
        min_code: the lowest int8 code that occurs.
        max_code: the highest int8 code that occurs.
        active: (channels,), True if the channel is not 0 in an image; None before the first batch.
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
        """Add a batch.

        Args:
            expected: the float model's output.
            codes: the int8 model's output, of the same shape.
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
            operator: the format's name of its operator, such as CONV_2D.
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
        opened: the artifact; a float artifact has no findings.
        graph_params: the parameters of the graph's input and output, None for a float output;
            None if the whole graph is float.
    """
    name, quantization = opened.path.name, opened.spec.quantization
    if quantization is None:
        return []
    findings = []
    spec_params = (quantization.input, quantization.output)
    for index, check in enumerate(("input scale", "output scale")):
        if graph_params is None:
            findings.append(
                LintFinding(name, check, False, "the graph is float, the spec says int8")
            )
            continue
        in_graph, in_spec = graph_params[index], spec_params[index]
        fine = _float32(in_graph) == _float32(in_spec)
        detail = _format_params(in_graph)
        if not fine:
            detail += f", the spec says {_format_params(in_spec)}"
        findings.append(LintFinding(name, check, fine, detail))
    return [*findings, _lint_calibration(opened)]


def _float32(params: QuantizationParams | None) -> tuple[float, int] | None:
    """Return (scale, zero point) with the scale rounded to float32, as the graph stores it."""
    return (float(np.float32(params.scale)), params.zero_point) if params else None


def _format_params(params: QuantizationParams | None) -> str:
    return f"{params.scale:.6g}, zero point {params.zero_point}" if params else "none: float"


def _lint_calibration(opened: Artifact) -> LintFinding:
    """Check that the calibration images cover all classes about equally."""
    quantization = opened.spec.quantization
    assert quantization is not None
    name, counts = quantization.calibration.name, quantization.calibration_counts
    if not counts:
        detail = f"{name}; unknown number of images per class, export it again"
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
        layers: all layers; those without weights are ignored.
    """
    layers = tuple(layer for layer in layers if layer.weighted)
    saturated = [layer.name for layer in layers if layer.saturation > _MAX_SATURATION_SHARE]
    narrow = [layer.name for layer in layers if layer.range_used < _MIN_RANGE_SHARE]
    silent = [layer.name for layer in layers if layer.silent_channels]
    return [
        LintFinding(artifact, check, not bad_layers, ", ".join(bad_layers) or fine_detail)
        for check, bad_layers, fine_detail in (
            ("saturation", saturated, f"of a layer ≤ {100 * _MAX_SATURATION_SHARE:g} %"),
            ("range used", narrow, f"of a layer ≥ {100 * _MIN_RANGE_SHARE:g} %"),
            ("silent channels", silent, "none"),
        )
    ]
