"""Compares a float and an int8 .tflite artifact layer by layer, and checks their graphs (lint).

`benchmarks.quantization.explain` uses this module for `digit-edge benchmark-parity --explain`.
LiteRT runs each graph with reference or optimized kernels and keeps every tensor. The list of
operators comes from a private method of LiteRT's interpreter. A future release may remove that
method.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness.messages import Layer, LintFinding
from benchmarks.quantization.layer_stats import (
    BATCH,
    SIGN_BIT,
    LayerStats,
    lint_quantization,
    real,
)
from runtime.backends import Pixels, Scores
from runtime.errors import BackendUnavailable
from runtime.model.artifact import Artifact
from runtime.model.spec import QuantizationParams
from runtime.system.native_output import suppress_native_output

ENGINE = "litert"  # name of the engine in the report
# Description of the step "quantization" in the report.
QUANTIZATION = "int8 against float, both with reference kernels"
# Description of the step "kernels" in the report.
KERNELS = "int8 with optimized kernels against int8 with reference kernels"
# Operators with weights. `lint` counts the operators after the last of them as the softmax.
_WEIGHTED_OPERATORS = ("CONV_2D", "FULLY_CONNECTED")
_STDERR = 2  # file descriptor of standard error, which LiteRT's C++ code writes to
_CHANNEL_AXIS = -1  # of the outputs of layers; TFLite stores (N, height, width, channels)


@dataclass(frozen=True)
class _Operator:
    """A node of the graph: its type, and the indices of its input and output tensors."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Model:
    """A .tflite artifact that can be run with reference or optimized kernels.

    Attributes:
        artifact: the artifact.
    """

    def __init__(self, opened: Artifact) -> None:
        self.artifact = opened

    def open(self, reference: bool, keep_tensors: bool = False) -> Any:
        """Open a LiteRT interpreter on one thread.

        Args:
            reference: True uses LiteRT's reference kernels, False its optimized kernels and
                delegates (libraries such as XNNPACK that run a part of the graph).
            keep_tensors: keep the inner tensors after a run.

        Returns:
            An `ai_edge_litert.interpreter.Interpreter`.

        Raises:
            BackendUnavailable: LiteRT is not installed.
        """
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError as error:
            raise BackendUnavailable(
                f'LiteRT is not installed ({error}): pip install "digit-edge[litert]"'
            ) from error
        kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
        with suppress_native_output(_STDERR):
            interpreter = Interpreter(
                model_content=self.artifact.data,
                num_threads=1,
                experimental_op_resolver_type=kernels,
                experimental_preserve_all_tensors=keep_tensors,
            )
            interpreter.allocate_tensors()
        return interpreter

    def batches(self, interpreter: Any, pixels: Pixels) -> Iterator[None]:
        """Run batch after batch; at each yield the interpreter holds the tensors of one batch.

        Args:
            interpreter: an open interpreter of this model.
            pixels: (N, 28, 28, 1) uint8.
        """
        input_details = interpreter.get_input_details()[0]
        size = 0
        for start in range(0, len(pixels), BATCH):
            batch = pixels[start : start + BATCH]
            if len(batch) != size:  # the first batch, or a smaller last one
                size = len(batch)
                with suppress_native_output(_STDERR):
                    interpreter.resize_tensor_input(input_details["index"], batch.shape)
                    interpreter.allocate_tensors()
            if input_details["dtype"] is np.int8:
                model_input = (batch ^ SIGN_BIT).view(np.int8)
            else:
                model_input = np.divide(batch, 255, dtype=np.float32)
            interpreter.set_tensor(input_details["index"], model_input)
            interpreter.invoke()
            yield

    def scores(self, pixels: Pixels, literal: bool) -> Scores:
        """Return the scores, (N, classes) float32.

        Args:
            pixels: (N, 28, 28, 1) uint8, at least one image.
            literal: True uses the reference kernels, False those that the engine chooses.

        Raises:
            BackendUnavailable: LiteRT is not installed.
        """
        interpreter = self.open(reference=literal)
        output = interpreter.get_output_details()[0]
        scores = []
        for _ in self.batches(interpreter, pixels):
            scores.append(real(interpreter.get_tensor(output["index"]), output["quantization"]))
        return np.concatenate(scores)

    def operators(self, interpreter: Any) -> list[_Operator]:
        """Return the operators of an open interpreter, in execution order.

        Raises:
            BackendUnavailable: this release of LiteRT does not list its operators.
        """
        if not hasattr(interpreter, "_get_ops_details"):
            raise BackendUnavailable(
                "this release of LiteRT does not list its operators: install 2.1, 2.2 or 2.3"
            )
        return [
            _Operator(op["op_name"], tuple(map(int, op["inputs"])), tuple(map(int, op["outputs"])))
            for op in interpreter._get_ops_details()
        ]


def layers(plain: Model, int8: Model, pixels: Pixels) -> tuple[Layer, ...]:
    """Compare the outputs of the operators one by one.

    Args:
        plain: the float artifact.
        int8: the int8 artifact.
        pixels: (N, 28, 28, 1) uint8, at least one image.

    Returns:
        The layers in execution order; empty if the two graphs have different operators.

    Raises:
        BackendUnavailable: LiteRT is not installed, or does not list its operators.
    """
    plain_run = plain.open(True, keep_tensors=True)
    int8_run = int8.open(True, keep_tensors=True)
    details = {tensor["index"]: tensor for tensor in int8_run.get_tensor_details()}
    # The softmax of an int8 model may be float. A float operator has no quantization error, so only
    # operators with int8 outputs are compared.
    int8_operators = [
        operator
        for operator in int8.operators(int8_run)
        if operator.kind != "QUANTIZE" and details[operator.outputs[0]]["dtype"] is np.int8
    ]
    plain_operators = plain.operators(plain_run)[: len(int8_operators)]
    if [op.kind for op in plain_operators] != [op.kind for op in int8_operators]:
        return ()
    pairs = list(zip(plain_operators, int8_operators, strict=True))
    stats = [LayerStats(channel_axis=_CHANNEL_AXIS) for _ in pairs]
    for _ in zip(plain.batches(plain_run, pixels), int8.batches(int8_run, pixels), strict=True):
        for (plain_operator, int8_operator), layer in zip(pairs, stats, strict=True):
            expected = plain_run.get_tensor(plain_operator.outputs[0])
            codes = int8_run.get_tensor(int8_operator.outputs[0])
            layer.add(expected, codes, details[int8_operator.outputs[0]]["quantization"])
    return tuple(
        layer.layer(_layer_name(details[operator.outputs[0]]["name"]), operator.kind)
        for (_, operator), layer in zip(pairs, stats, strict=True)
    )


def _layer_name(tensor: str) -> str:
    """Return the layer in a tensor name: `digits_1/conv2_1/Relu;digits_1/…` → `conv2`."""
    parts = tensor.split(";")[0].split("/")
    return parts[1].removesuffix("_1") if len(parts) > 2 else parts[-1]


def lint(model: Model) -> list[LintFinding]:
    """Check scales, batch axis and calibration of the graph, and its delegate partitions.

    A delegate partition is a part of the graph that a delegate (XNNPACK) runs as a whole. Each
    change between a partition and LiteRT's own kernels costs time, so one partition is fastest.

    Raises:
        BackendUnavailable: LiteRT is not installed, or does not list its operators.
    """
    name = model.artifact.path.name
    interpreter = model.open(reference=False)
    free = (
        int(interpreter.get_input_details()[0]["shape_signature"][0]) == -1
    )  # accepts any batch size
    operators = model.operators(interpreter)
    delegates = [operator for operator in operators if operator.kind == "DELEGATE"]
    plain = [operator for operator in operators if operator.kind != "DELEGATE"]
    delegate_tensors = [_tensors_inside(delegate, plain) for delegate in delegates]
    # The softmax follows the last layer with weights. In an int8 model the softmax is a table
    # look-up. No delegate supports table look-ups, so the checks ignore the softmax.
    layers = [index for index, op in enumerate(plain) if op.kind in _WEIGHTED_OPERATORS]
    network = plain[: layers[-1] + 1] if layers else plain
    network_outputs = {operator.outputs[0] for operator in network}
    partitions = [tensors for tensors in delegate_tensors if tensors & network_outputs]
    delegated = set().union(*partitions)
    outside = [operator.kind for operator in network if operator.outputs[0] not in delegated]
    softmax_partitions = len(delegates) - len(partitions)
    return [
        *lint_quantization(model.artifact, _graph_params(interpreter)),
        LintFinding(name, "batch", free, "free" if free else "frozen"),
        LintFinding(
            name,
            "delegate partitions",
            len(partitions) == 1,
            f"{len(partitions)} (one is fastest)"
            + (f", and {softmax_partitions} for the softmax" if softmax_partitions else ""),
        ),
        LintFinding(
            name, "operators outside the delegate", not outside, ", ".join(outside) or "none"
        ),
    ]


def _tensors_inside(delegate: _Operator, plain: list[_Operator]) -> set[int]:
    """Return the indices of the tensors that the operators replaced by a delegate write.

    Args:
        delegate: the delegate's node.
        plain: all other operators of the graph, including those that the delegate replaces.
    """
    producers = {operator.outputs[0]: operator for operator in plain}
    inside: set[int] = set()
    stack = list(delegate.outputs)
    while stack:
        tensor = stack.pop()
        if tensor in producers and tensor not in inside and tensor not in delegate.inputs:
            inside.add(tensor)
            stack += producers[tensor].inputs
    return inside


def _graph_params(interpreter: Any) -> tuple[QuantizationParams, QuantizationParams | None] | None:
    """Return the quantization of the graph's input and output.

    The second value is None if the output is float. The result is None if the input is float.
    """
    details = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    source, result = (
        QuantizationParams(*map(_python_number, detail["quantization"])) for detail in details
    )
    if not source.scale:  # float tensors have scale 0
        return None
    return source, result if result.scale else None


def _python_number(value: Any) -> Any:
    """Convert a NumPy scalar to the int or float of Python; return other values unchanged."""
    return value.item() if isinstance(value, np.generic) else value
