"""Where an int8 artefact's differences come from: conversion, quantisation, kernels, which layer.

Runs in a process of its own, with LiteRT: it alone lets its kernels be chosen and every tensor be
kept. Its list of operators is not public, so a future release may end this page of the report.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.jobs import ExplainJob, Explanation, Finding, Layer, Step
from runtime import artefact
from runtime.artefact import Artefact
from runtime.backends import Pixels, Scores
from runtime.errors import BackendUnavailable
from runtime.quiet import quiet

_BATCH = 50
_LEAST_RANGE = 0.5
_MOST_SATURATION = 0.01


def explain(job: ExplainJob) -> Explanation:
    """Trace the float and the int8 model over the same images.

    Raises:
        ArtefactError: one of them is missing or damaged.
        BackendUnavailable: LiteRT is not installed, or gives no list of operators.
    """
    pixels, original = np.load(job.pixels), np.load(job.scores)
    plain, int8 = _Model(artefact.read(job.plain)), _Model(artefact.read(job.int8))
    with_reference = int8.scores(pixels, reference=True)
    steps = (
        _step("conversion", "float artefact against Keras", original, plain.scores(pixels, False)),
        _step(
            "quantisation",
            "int8 against float, both with reference kernels",
            plain.scores(pixels, reference=True),
            with_reference,
        ),
        _step(
            "kernels",
            "int8, optimised kernels against reference ones",
            with_reference,
            int8.scores(pixels, reference=False),
        ),
    )
    layers = _layers(plain, int8, pixels)
    findings = (*_lint(plain), *_lint(int8), *_lint_layers(int8, layers))
    return Explanation(len(pixels), steps, layers, findings)


def lint(opened: Artefact) -> tuple[Finding, ...]:
    """Check one artefact's graph, as the engine opens it."""
    return tuple(_lint(_Model(opened)))


def _step(name: str, detail: str, before: Scores, after: Scores) -> Step:
    difference = np.abs(before.astype(np.float64) - after)
    flips = int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
    return Step(name, detail, float(difference.max()), float(difference.mean()), flips)


@dataclass(frozen=True)
class _Operator:
    """A node of the graph: what it is and which tensors it reads and writes."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class _Model:
    """A .tflite artefact, opened with the kernels asked for."""

    def __init__(self, opened: Artefact) -> None:
        self.artefact = opened

    def open(self, reference: bool, keep: bool = False) -> Any:
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError as error:
            raise BackendUnavailable(
                f'LiteRT is not installed ({error}): pip install "digit-edge[litert]"'
            ) from error
        kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
        with quiet(2):
            interpreter = Interpreter(
                model_content=self.artefact.data,
                num_threads=1,
                experimental_op_resolver_type=kernels,
                experimental_preserve_all_tensors=keep,
            )
            interpreter.allocate_tensors()
        return interpreter

    def batches(self, interpreter: Any, pixels: Pixels) -> Iterator[None]:
        """Answer batch after batch; the interpreter holds each while the caller looks."""
        source = interpreter.get_input_details()[0]
        size = 0
        for at in range(0, len(pixels), _BATCH):
            batch = pixels[at : at + _BATCH]
            if len(batch) != size:  # at first, and where the last batch is a smaller one
                size = len(batch)
                with quiet(2):
                    interpreter.resize_tensor_input(source["index"], batch.shape)
                    interpreter.allocate_tensors()
            int8 = source["dtype"] is np.int8
            ready = (batch ^ 128).view(np.int8) if int8 else np.divide(batch, 255, dtype=np.float32)
            interpreter.set_tensor(source["index"], ready)
            interpreter.invoke()
            yield

    def scores(self, pixels: Pixels, reference: bool) -> Scores:
        interpreter = self.open(reference)
        result = interpreter.get_output_details()[0]
        rows = []
        for _ in self.batches(interpreter, pixels):
            rows.append(_real(interpreter.get_tensor(result["index"]), result["quantization"]))
        return np.concatenate(rows)

    def operators(self, interpreter: Any) -> list[_Operator]:
        if not hasattr(interpreter, "_get_ops_details"):
            raise BackendUnavailable("this LiteRT does not list its operators: use 2.1 to 2.3")
        return [
            _Operator(op["op_name"], tuple(map(int, op["inputs"])), tuple(map(int, op["outputs"])))
            for op in interpreter._get_ops_details()
        ]


def _real(codes: npt.NDArray[Any], quantization: tuple[float, int]) -> npt.NDArray[np.float32]:
    scale, zero = quantization
    if codes.dtype != np.int8:
        return codes.astype(np.float32)
    return (codes.astype(np.float32) - zero) * np.float32(scale)


def _layers(plain: _Model, int8: _Model, pixels: Pixels) -> tuple[Layer, ...]:
    """Compare the outputs of the operators one by one; none where the graphs are not alike."""
    first, second = (model.open(True, keep=True) for model in (plain, int8))
    before, after = plain.operators(first), int8.operators(second)
    if [operator.kind for operator in before] != [operator.kind for operator in after]:
        return ()
    details = {tensor["index"]: tensor for tensor in second.get_tensor_details()}
    sums = [_Sums() for _ in after]
    for _ in zip(plain.batches(first, pixels), int8.batches(second, pixels), strict=True):
        for one, other, total in zip(before, after, sums, strict=True):
            quantization = details[other.outputs[0]]["quantization"]
            codes = second.get_tensor(other.outputs[0])
            total.add(first.get_tensor(one.outputs[0]), codes, quantization)
    return tuple(
        total.layer(_name(details[operator.outputs[0]]["name"]), operator.kind)
        for operator, total in zip(after, sums, strict=True)
    )


class _Sums:
    """What is added up of one operator's output, float and int8, over the batches."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0
        self.count = self.saturated = 0
        self.least, self.most = 127, -128
        self.active: npt.NDArray[np.bool_] | None = None

    def add(
        self, real: npt.NDArray[Any], codes: npt.NDArray[Any], quantization: tuple[float, int]
    ) -> None:
        expected = real.astype(np.float64)
        self.signal += float((expected**2).sum())
        self.noise += float(((expected - _real(codes, quantization)) ** 2).sum())
        self.count += codes.size
        # At a zero point of −128 the lowest code is the true zero of a ReLU, not a clipped value.
        self.saturated += int((codes == 127).sum())
        if quantization[1] > -128:
            self.saturated += int((codes == -128).sum())
        self.least, self.most = min(self.least, int(codes.min())), max(self.most, int(codes.max()))
        active = np.any(real != 0, axis=tuple(range(real.ndim - 1)))
        self.active = active if self.active is None else self.active | active

    def layer(self, name: str, kind: str) -> Layer:
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


def _name(tensor: str) -> str:
    """`digits_1/conv2_1/Relu;digits_1/…` → `conv2`."""
    parts = tensor.split(";")[0].split("/")
    return parts[1].removesuffix("_1") if len(parts) > 2 else parts[-1]


def _lint(model: _Model) -> list[Finding]:
    """What the engine makes of the graph: its partitions, and what it leaves out of them."""
    name = model.artefact.path.name
    interpreter = model.open(reference=False)
    free = int(interpreter.get_input_details()[0]["shape_signature"][0]) == -1
    everything = model.operators(interpreter)
    delegates = [operator for operator in everything if operator.kind == "DELEGATE"]
    plain = [operator for operator in everything if operator.kind != "DELEGATE"]
    makers = {operator.outputs[0]: operator for operator in plain}
    inside: set[int] = set()
    for delegate in delegates:
        wanted = list(delegate.outputs)
        while wanted:
            tensor = wanted.pop()
            if tensor in makers and tensor not in inside and tensor not in delegate.inputs:
                inside.add(tensor)
                wanted += makers[tensor].inputs
    outside = [operator.kind for operator in plain if operator.outputs[0] not in inside]
    return [
        *_lint_quantization(model, interpreter),
        Finding(name, "batch", free, "free" if free else "frozen"),
        Finding(
            name, "delegate partitions", len(delegates) == 1, f"{len(delegates)}, one is fastest"
        ),
        Finding(
            name,
            "operators outside the delegate",
            not set(outside) - {"SOFTMAX"},
            ", ".join(outside) or "none",
        ),
    ]


def _lint_quantization(model: _Model, interpreter: Any) -> list[Finding]:
    """The graph's input and output scales beside the spec's; what it was calibrated with."""
    name, stated = model.artefact.path.name, model.artefact.spec.quantization
    if stated is None:
        return []
    findings = []
    for what, tensor, affine in (
        ("input scale", interpreter.get_input_details()[0], stated.input),
        ("output scale", interpreter.get_output_details()[0], stated.output),
    ):
        scale, zero = tensor["quantization"]
        # The graph keeps float32.
        fine = np.float32(scale) == np.float32(affine.scale) and zero == affine.zero_point
        found = f"{scale:.6g}, zero point {zero}"
        said = f", the spec says {affine.scale:.6g}, {affine.zero_point}"
        findings.append(Finding(name, what, bool(fine), found + ("" if fine else said)))
    calibration = stated.calibration
    return [
        *findings,
        # The spec holds a digest of the images, not their classes.
        Finding(
            name, "calibration", True, f"{calibration.name}; how many of each class: not known"
        ),
    ]


def _lint_layers(model: _Model, layers: tuple[Layer, ...]) -> list[Finding]:
    name = model.artefact.path.name
    layers = tuple(layer for layer in layers if layer.weighted)
    checks = (
        ("saturation", [x for x in layers if x.saturation > _MOST_SATURATION], "of a layer ≤ 1 %"),
        ("range used", [x for x in layers if x.range_used < _LEAST_RANGE], "of a layer ≥ 50 %"),
        ("silent channels", [x for x in layers if x.silent_channels], "none"),
    )
    return [
        Finding(name, what, not bad, ", ".join(x.name for x in bad) if bad else fine)
        for what, bad, fine in checks
    ]
