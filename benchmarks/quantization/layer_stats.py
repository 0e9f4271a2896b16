"""Error statistics of an int8 artifact's layers, common to all engines."""

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness.messages import ErrorSource, Layer, LintFinding
from runtime.backends import Scores
from runtime.model.artifact import Artifact
from runtime.model.spec import QuantizationParams

# How many images are answered at once: every output of every layer is held.
BATCH = 50
_MIN_RANGE = 0.5
_MAX_SATURATION = 0.01


def step(name: str, detail: str, before: Scores, after: Scores) -> ErrorSource:
    """What one step changes in the scores (N, classes) of the same images."""
    difference = np.abs(before.astype(np.float64) - after)
    flips = int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
    return ErrorSource(name, detail, float(difference.max()), float(difference.mean()), flips)


def real(codes: npt.NDArray[Any], quantization: tuple[float, int]) -> npt.NDArray[np.float32]:
    """The values that int8 codes stand for; float values as they are."""
    scale, zero = quantization
    if codes.dtype != np.int8:
        return codes.astype(np.float32)
    return (codes.astype(np.float32) - zero) * np.float32(scale)


class LayerStats:
    """What is added up of one operator's output, float and int8, over the batches."""

    def __init__(self, channel_axis: int) -> None:
        self.channel_axis = channel_axis
        self.signal = self.noise = 0.0
        self.count = self.saturated = 0
        self.least, self.most = 127, -128
        self.active: npt.NDArray[np.bool_] | None = None

    def add(
        self, expected: npt.NDArray[Any], codes: npt.NDArray[Any], quantization: tuple[float, int]
    ) -> None:
        """Add a batch: the float model's output, the int8 model's codes, and their scale."""
        exact = expected.astype(np.float64)
        self.signal += float((exact**2).sum())
        self.noise += float(((exact - real(codes, quantization)) ** 2).sum())
        self.count += codes.size
        # At a zero point of −128 the lowest code is the true zero of a ReLU, not a clipped value.
        self.saturated += int((codes == 127).sum())
        if quantization[1] > -128:
            self.saturated += int((codes == -128).sum())
        self.least, self.most = min(self.least, int(codes.min())), max(self.most, int(codes.max()))
        channels = np.moveaxis(expected, self.channel_axis, -1)
        active = np.any(channels != 0, axis=tuple(range(expected.ndim - 1)))
        self.active = active if self.active is None else self.active | active

    def layer(self, name: str, kind: str) -> Layer:
        """The sums as a line of the report."""
        active = self.active if self.active is not None else np.zeros(0, bool)
        ratio = self.signal / self.noise if self.noise and self.signal else 0.0
        return Layer(
            name=name,
            operator=kind,
            snr_db=10 * float(np.log10(ratio)) if ratio else None,
            saturation=self.saturated / max(1, self.count),
            range_used=(self.most - self.least) / 255,
            channels=len(active),
            silent_channels=int((~active).sum()),
        )


def lint_quantization(
    opened: Artifact, found: tuple[QuantizationParams, QuantizationParams | None] | None
) -> list[LintFinding]:
    """The graph's input and output scales beside the spec's; what it was calibrated with."""
    name, stated = opened.path.name, opened.spec.quantization
    if stated is None:
        return []
    findings = []
    for place, what in enumerate(("input scale", "output scale")):
        said = (stated.input, stated.output)[place]
        if found is None:
            findings.append(
                LintFinding(name, what, False, "the graph is float, the spec says int8")
            )
            continue
        held = found[place]
        # The graph keeps float32.
        fine = _float32(held) == _float32(said)
        detail = _format_params(held) + ("" if fine else f", the spec says {_format_params(said)}")
        findings.append(LintFinding(name, what, fine, detail))
    return [*findings, _lint_calibration(opened)]


def _float32(affine: QuantizationParams | None) -> tuple[float, int] | None:
    return affine and (float(np.float32(affine.scale)), affine.zero_point)


def _format_params(affine: QuantizationParams | None) -> str:
    return f"{affine.scale:.6g}, zero point {affine.zero_point}" if affine else "none: float"


def _lint_calibration(opened: Artifact) -> LintFinding:
    stated = opened.spec.quantization
    assert stated is not None
    name, counts = stated.calibration.name, stated.calibration_counts
    if not counts:
        detail = f"{name}; how many of each class: not known, export it again"
        return LintFinding(opened.path.name, "calibration", True, detail)
    missing = [label for label, n in zip(opened.spec.labels, counts, strict=True) if not n]
    least, most = min(counts), max(counts)
    each = f"{least}" if least == most else f"{least} to {most}"
    detail = f"{name}, {each} of each class"
    if missing:
        detail = f"{name}, none of {', '.join(missing)}"
    # Twice as many of one class as of another is chance; more is a choice.
    return LintFinding(opened.path.name, "calibration", not missing and most <= 2 * least, detail)


def lint_layers(artifact: str, layers: tuple[Layer, ...]) -> list[LintFinding]:
    """Layers with weights that clip, waste their range, or hold channels that are never active."""
    layers = tuple(layer for layer in layers if layer.weighted)
    checks = (
        ("saturation", [x for x in layers if x.saturation > _MAX_SATURATION], "of a layer ≤ 1 %"),
        ("range used", [x for x in layers if x.range_used < _MIN_RANGE], "of a layer ≥ 50 %"),
        ("silent channels", [x for x in layers if x.silent_channels], "none"),
    )
    return [
        LintFinding(artifact, what, not bad, ", ".join(x.name for x in bad) if bad else fine)
        for what, bad, fine in checks
    ]
