"""What `explain` asks of .tflite artifacts: LiteRT with the kernels chosen and every tensor kept.

Its list of operators is not public, so a future release may end this page of the report.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness.messages import Layer, LintFinding
from benchmarks.quantization.layer_stats import BATCH, LayerStats, lint_quantization, real
from runtime.backends import Pixels, Scores
from runtime.errors import BackendUnavailable
from runtime.model.artifact import Artifact
from runtime.model.spec import QuantizationParams
from runtime.system.native_output import suppress_native_output

ENGINE = "litert"
# What the report says of the steps.
QUANTIZATION = "int8 against float, both with reference kernels"
KERNELS = "int8, optimized kernels against reference ones"
# Operators with weights.
_LAYERS = ("CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True)
class _Operator:
    """A node of the graph: what it is and which tensors it reads and writes."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Model:
    """A .tflite artifact, opened with the kernels asked for."""

    def __init__(self, opened: Artifact) -> None:
        self.artifact = opened

    def open(self, reference: bool, keep: bool = False) -> Any:
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError as error:
            raise BackendUnavailable(
                f'LiteRT is not installed ({error}): pip install "digit-edge[litert]"'
            ) from error
        kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
        with suppress_native_output(2):
            interpreter = Interpreter(
                model_content=self.artifact.data,
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
        for at in range(0, len(pixels), BATCH):
            batch = pixels[at : at + BATCH]
            if len(batch) != size:  # at first, and where the last batch is a smaller one
                size = len(batch)
                with suppress_native_output(2):
                    interpreter.resize_tensor_input(source["index"], batch.shape)
                    interpreter.allocate_tensors()
            int8 = source["dtype"] is np.int8
            ready = (batch ^ 128).view(np.int8) if int8 else np.divide(batch, 255, dtype=np.float32)
            interpreter.set_tensor(source["index"], ready)
            interpreter.invoke()
            yield

    def scores(self, pixels: Pixels, literal: bool) -> Scores:
        """Scores, with the reference kernels or with those the engine takes by itself."""
        interpreter = self.open(reference=literal)
        result = interpreter.get_output_details()[0]
        rows = []
        for _ in self.batches(interpreter, pixels):
            rows.append(real(interpreter.get_tensor(result["index"]), result["quantization"]))
        return np.concatenate(rows)

    def operators(self, interpreter: Any) -> list[_Operator]:
        if not hasattr(interpreter, "_get_ops_details"):
            raise BackendUnavailable("this LiteRT does not list its operators: use 2.1 to 2.3")
        return [
            _Operator(op["op_name"], tuple(map(int, op["inputs"])), tuple(map(int, op["outputs"])))
            for op in interpreter._get_ops_details()
        ]


def layers(plain: Model, int8: Model, pixels: Pixels) -> tuple[Layer, ...]:
    """Compare the outputs of the operators one by one; none where the graphs are not alike."""
    first, second = (model.open(True, keep=True) for model in (plain, int8))
    details = {tensor["index"]: tensor for tensor in second.get_tensor_details()}
    # What is float in the int8 model too, its softmax, loses nothing of its own.
    after = [
        operator
        for operator in int8.operators(second)
        if operator.kind != "QUANTIZE" and details[operator.outputs[0]]["dtype"] is np.int8
    ]
    before = plain.operators(first)[: len(after)]
    if [operator.kind for operator in before] != [operator.kind for operator in after]:
        return ()
    pairs = list(zip(before, after, strict=True))
    sums = [LayerStats(channel_axis=-1) for _ in pairs]
    for _ in zip(plain.batches(first, pixels), int8.batches(second, pixels), strict=True):
        for (one, other), total in zip(pairs, sums, strict=True):
            quantization = details[other.outputs[0]]["quantization"]
            codes = second.get_tensor(other.outputs[0])
            total.add(first.get_tensor(one.outputs[0]), codes, quantization)
    return tuple(
        total.layer(_name(details[operator.outputs[0]]["name"]), operator.kind)
        for (_, operator), total in zip(pairs, sums, strict=True)
    )


def _name(tensor: str) -> str:
    """`digits_1/conv2_1/Relu;digits_1/…` → `conv2`."""
    parts = tensor.split(";")[0].split("/")
    return parts[1].removesuffix("_1") if len(parts) > 2 else parts[-1]


def lint(model: Model) -> list[LintFinding]:
    """What the engine makes of the graph: its partitions, and what it leaves out of them."""
    name = model.artifact.path.name
    interpreter = model.open(reference=False)
    free = int(interpreter.get_input_details()[0]["shape_signature"][0]) == -1
    everything = model.operators(interpreter)
    delegates = [operator for operator in everything if operator.kind == "DELEGATE"]
    plain = [operator for operator in everything if operator.kind != "DELEGATE"]
    taken = [_inside(delegate, plain) for delegate in delegates]
    # Behind the last layer comes the softmax, of an int8 model a look-up: delegates know none.
    layers = [at for at, operator in enumerate(plain) if operator.kind in _LAYERS]
    network = plain[: layers[-1] + 1] if layers else plain
    outputs = {operator.outputs[0] for operator in network}
    partitions = [part for part in taken if part & outputs]
    outside = [op.kind for op in network if not any(op.outputs[0] in part for part in partitions)]
    softmax = len(delegates) - len(partitions)
    return [
        *lint_quantization(model.artifact, _quantization(interpreter)),
        LintFinding(name, "batch", free, "free" if free else "frozen"),
        LintFinding(
            name,
            "delegate partitions",
            len(partitions) == 1,
            f"{len(partitions)}, one is fastest"
            + (f"; and {softmax} of the softmax" if softmax else ""),
        ),
        LintFinding(
            name, "operators outside the delegate", not outside, ", ".join(outside) or "none"
        ),
    ]


def _inside(delegate: _Operator, plain: list[_Operator]) -> set[int]:
    """The tensors that a delegate's operators write."""
    makers = {operator.outputs[0]: operator for operator in plain}
    inside: set[int] = set()
    wanted = list(delegate.outputs)
    while wanted:
        tensor = wanted.pop()
        if tensor in makers and tensor not in inside and tensor not in delegate.inputs:
            inside.add(tensor)
            wanted += makers[tensor].inputs
    return inside


def _quantization(interpreter: Any) -> tuple[QuantizationParams, QuantizationParams | None] | None:
    """The scales of the graph's input and output; None where each is float."""
    details = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scales = [QuantizationParams(*map(_plain, detail["quantization"])) for detail in details]
    return (scales[0], scales[1] if scales[1].scale else None) if scales[0].scale else None


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
