"""Compares a float and an int8 .onnx artifact layer by layer, and checks their graphs (lint).

`benchmarks.quantization.explain` uses this module for `digit-edge benchmark-parity --explain`.
onnxruntime runs each graph with graph optimizations off and on. To compare layers, the inner
tensors of the graph are added to its outputs.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness.messages import Layer, LintFinding
from benchmarks.quantization.layer_stats import BATCH, SIGN_BIT, LayerStats, lint_quantization
from runtime.backends import Pixels, Scores, install_hint
from runtime.backends.onnx import EXACT_INT8_SUMS
from runtime.errors import BackendUnavailable
from runtime.model.artifact import Artifact
from runtime.model.spec import QuantizationParams
from runtime.system.native_output import suppress_native_output

ENGINE = "onnxruntime"  # name of the engine in the report
# Description of the step "quantization" in the report.
QUANTIZATION = "int8 against float, both without graph optimizations"
# Description of the step "kernels" in the report.
KERNELS = "int8 with graph optimizations and integer kernels against int8 without them"
# onnxruntime's quantizer appends this to the name of a tensor that is a graph output. Without this
# suffix, the name is that of the same tensor in the float graph.
_QUANTIZER_SUFFIX = "_QuantizeLinear_Input"
_LOG_SEVERITY_ERROR = 3  # onnxruntime prints errors; less severe messages are not printed
_STDERR = 2  # file descriptor of standard error, which onnxruntime's C++ code writes to
_CHANNEL_AXIS = 1  # of the outputs of layers; ONNX stores (N, channels, height, width)


@dataclass(frozen=True)
class _Quantizer:
    """A QuantizeLinear node of the graph.

    Attributes:
        source: the tensor that is quantized.
        name: the name of the layer that computes `source`.
        operator: the operator type of that layer; "input" for the graph's input.
        codes: the quantized tensor.
        params: scale and zero point.
    """

    source: str
    name: str
    operator: str
    codes: str
    params: QuantizationParams


class Model:
    """An .onnx artifact and its graph.

    Attributes:
        artifact: the artifact.
        proto: the parsed graph.
        constants: the values of the graph's initializers, by name.

    Args:
        opened: the artifact.

    Raises:
        BackendUnavailable: onnx is not installed.
    """

    def __init__(self, opened: Artifact) -> None:
        try:
            import onnx
        except ImportError as error:
            raise BackendUnavailable(
                f'onnx is not installed ({error}): pip install "digit-edge[train]"'
            ) from error
        self.artifact = opened
        self.proto = onnx.load_from_string(opened.data)
        self.constants = {
            tensor.name: onnx.numpy_helper.to_array(tensor)
            for tensor in self.proto.graph.initializer
        }

    def open(self, optimized: bool, outputs: tuple[str, ...] = (), save: str = "") -> Any:
        """Open an onnxruntime session on one thread.

        Args:
            optimized: True enables all graph optimizations, False none.
            outputs: names of inner tensors that a run can return in addition to the scores.
            save: the file that the optimized graph is written to; empty to write none.

        Returns:
            An `onnxruntime.InferenceSession`.

        Raises:
            BackendUnavailable: onnxruntime is not installed.
        """
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise BackendUnavailable(
                f"onnxruntime is not installed ({error}): {install_hint('onnxruntime')}"
            ) from error
        levels = onnxruntime.GraphOptimizationLevel
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = _LOG_SEVERITY_ERROR
        options.add_session_config_entry(*EXACT_INT8_SUMS)
        options.graph_optimization_level = (
            levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
        )
        if save:
            options.optimized_model_filepath = save
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in outputs)
        with suppress_native_output(_STDERR):
            return onnxruntime.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )

    def batches(
        self, session: Any, pixels: Pixels, outputs: tuple[str, ...]
    ) -> Iterator[list[npt.NDArray[Any]]]:
        """Run a session on batches of images; yield the outputs of each batch.

        Args:
            session: an open session of this model.
            pixels: (N, 28, 28, 1) uint8.
            outputs: names of the tensors to yield, in this order.
        """
        name = session.get_inputs()[0].name
        for start in range(0, len(pixels), BATCH):
            feed = {name: np.divide(pixels[start : start + BATCH], 255, dtype=np.float32)}
            yield session.run(list(outputs), feed)

    def scores(self, pixels: Pixels, literal: bool) -> Scores:
        """Return the scores, (N, classes) float32.

        Args:
            pixels: (N, 28, 28, 1) uint8, at least one image.
            literal: True runs the graph as stored, False with all graph optimizations.

        Raises:
            BackendUnavailable: onnxruntime is not installed.
        """
        names = (self.proto.graph.output[0].name,)
        batches = self.batches(self.open(not literal), pixels, names)
        return np.concatenate([batch[0] for batch in batches])

    def quantizers(self) -> list[_Quantizer]:
        """Return the QuantizeLinear nodes of activations (not of weights) in execution order."""
        producers = {name: node for node in self.proto.graph.node for name in node.output}
        quantizers = []
        for node in self.proto.graph.node:
            constant_scale = node.op_type == "QuantizeLinear" and node.input[1] in self.constants
            if not constant_scale or node.input[0] in self.constants:
                continue
            producer = producers.get(node.input[0])
            zero_point = self.constants[node.input[2]].item() if len(node.input) > 2 else 0
            quantizers.append(
                _Quantizer(
                    source=node.input[0],
                    name=node.input[0] if producer is None else producer.name.split("/")[0],
                    operator="input" if producer is None else producer.op_type,
                    codes=node.output[0],
                    params=QuantizationParams(self.constants[node.input[1]].item(), zero_point),
                )
            )
        return quantizers


def layers(plain: Model, int8: Model, pixels: Pixels) -> tuple[Layer, ...]:
    """Compare each quantized tensor with the float tensor of the same name.

    Args:
        plain: the float artifact.
        int8: the int8 artifact.
        pixels: (N, 28, 28, 1) uint8, at least one image.

    Returns:
        The layers in execution order; empty if no names match.

    Raises:
        BackendUnavailable: onnxruntime is not installed.
    """
    float_names = {name for node in plain.proto.graph.node for name in node.output}
    pairs = [
        (quantizer.source.removesuffix(_QUANTIZER_SUFFIX), quantizer)
        for quantizer in int8.quantizers()
        if quantizer.source.removesuffix(_QUANTIZER_SUFFIX) in float_names
    ]
    if not pairs:
        return ()
    graph_outputs = {output.name for output in plain.proto.graph.output}
    plain_outputs = tuple(name for name, _ in pairs)
    int8_outputs = tuple(quantizer.codes for _, quantizer in pairs)
    extra_outputs = tuple(name for name in plain_outputs if name not in graph_outputs)
    plain_session = plain.open(False, extra_outputs)
    int8_session = int8.open(False, int8_outputs)
    stats = [LayerStats(channel_axis=_CHANNEL_AXIS) for _ in pairs]
    for plain_batch, int8_batch in zip(
        plain.batches(plain_session, pixels, plain_outputs),
        int8.batches(int8_session, pixels, int8_outputs),
        strict=True,
    ):
        for expected, codes, (_, quantizer), layer in zip(
            plain_batch, int8_batch, pairs, stats, strict=True
        ):
            layer.add(expected, *_as_int8(codes, quantizer.params))
    return tuple(
        layer.layer(quantizer.name, quantizer.operator)
        for layer, (_, quantizer) in zip(stats, pairs, strict=True)
    )


def _as_int8(
    codes: npt.NDArray[Any], params: QuantizationParams
) -> tuple[npt.NDArray[np.int8], tuple[float, int]]:
    """Return codes as int8, with their (scale, zero point).

    128 is subtracted from uint8 codes and from their zero point; int8 codes are unchanged.
    """
    if codes.dtype == np.uint8:
        return (codes ^ SIGN_BIT).view(np.int8), (params.scale, params.zero_point - 128)
    return codes, (params.scale, params.zero_point)


def lint(model: Model) -> list[LintFinding]:
    """Check scales, batch axis and calibration of the graph, and the engine's optimized graph.

    Raises:
        BackendUnavailable: onnxruntime is not installed.
    """
    name = model.artifact.path.name
    axis = model.proto.graph.input[0].type.tensor_type.shape.dim[0]
    free = not axis.HasField("dim_value")  # a free axis accepts batches of any size
    quantizers = model.quantizers()
    graph_params = None
    if quantizers:
        # If a softmax follows the last quantizer, the output is float.
        int8_output = model.proto.graph.node[-1].op_type == "DequantizeLinear"
        graph_params = (quantizers[0].params, quantizers[-1].params if int8_output else None)
    return [
        *lint_quantization(model.artifact, graph_params),
        LintFinding(name, "batch", free, "free" if free else "frozen"),
        *_lint_optimized(model, bool(quantizers)),
    ]


def _lint_optimized(model: Model, quantized: bool) -> list[LintFinding]:
    """Check the graph that the engine's optimizer makes for this processor.

    Args:
        model: the artifact.
        quantized: True if the graph contains int8 layers. Operators that run in float are then
            listed.
    """
    import onnx

    with tempfile.TemporaryDirectory(prefix="digit-edge-") as folder:
        path = Path(folder, "optimized.onnx")
        model.open(True, save=str(path))
        nodes = onnx.load(str(path)).graph.node
    counts = Counter(node.op_type for node in nodes)
    name = model.artifact.path.name
    operators = ", ".join(kind if n == 1 else f"{n} {kind}" for kind, n in sorted(counts.items()))
    detail = f"{len(nodes)}: {operators}"
    findings = [LintFinding(name, "operators after optimization", True, detail)]
    if quantized:
        dequantized = {
            tensor for node in nodes if node.op_type == "DequantizeLinear" for tensor in node.output
        }
        outside = [node.op_type for node in nodes if dequantized & set(node.input)]
        findings.append(
            LintFinding(
                name,
                "operators outside the integer kernels",
                # The softmax may run in float, as one operator or as a table look-up after a Mul.
                not set(outside) - {"Softmax", "Mul"},
                ", ".join(outside) or "none",
            )
        )
    return findings
