"""What `explain` asks of .onnx artifacts: onnxruntime with its optimisations off and on, and the
outputs inside the graph beside the scores. Needs the onnx package.
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
from benchmarks.quantization.layer_stats import BATCH, LayerStats, lint_quantization
from runtime.backends import Pixels, Scores, install_hint
from runtime.backends.onnx import EXACT_INT8_SUMS
from runtime.errors import BackendUnavailable
from runtime.model.artifact import Artifact
from runtime.model.spec import QuantizationParams
from runtime.system.native_output import suppress_native_output

ENGINE = "onnxruntime"
# What the report says of the steps.
QUANTIZATION = "int8 against float, both without graph optimisations"
KERNELS = "int8, with graph optimisations and integer kernels against without"
# What the quantiser puts behind a name where the name itself is an output's.
_BEFORE = "_QuantizeLinear_Input"


@dataclass(frozen=True)
class _Quantizer:
    """Where the graph quantises an output: which, of what operator, into what, and how."""

    source: str
    name: str
    operator: str
    codes: str
    affine: QuantizationParams


class Model:
    """An .onnx artifact and its graph."""

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
        """A session; `outputs` are given beside the scores, `save` is the file to rewrite into."""
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
        options.log_severity_level = 3
        options.add_session_config_entry(*EXACT_INT8_SUMS)
        options.graph_optimization_level = (
            levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
        )
        if save:
            options.optimized_model_filepath = save
        wanted = onnx.ModelProto()
        wanted.CopyFrom(self.proto)
        wanted.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in outputs)
        with suppress_native_output(2):
            return onnxruntime.InferenceSession(
                wanted.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )

    def batches(
        self, session: Any, pixels: Pixels, outputs: tuple[str, ...]
    ) -> Iterator[list[npt.NDArray[Any]]]:
        name = session.get_inputs()[0].name
        for at in range(0, len(pixels), BATCH):
            feed = {name: np.divide(pixels[at : at + BATCH], 255, dtype=np.float32)}
            yield session.run(list(outputs), feed)

    def scores(self, pixels: Pixels, literal: bool) -> Scores:
        """Scores, by the graph as the file holds it or as the engine optimises it."""
        names = (self.proto.graph.output[0].name,)
        batches = self.batches(self.open(not literal), pixels, names)
        return np.concatenate([batch[0] for batch in batches])

    def quantizers(self) -> list[_Quantizer]:
        """Every place where values, not weights, are quantized, in the order of execution."""
        makers = {name: node for node in self.proto.graph.node for name in node.output}
        found = []
        for node in self.proto.graph.node:
            known = node.op_type == "QuantizeLinear" and node.input[1] in self.constants
            if not known or node.input[0] in self.constants:
                continue
            maker = makers.get(node.input[0])
            zero = self.constants[node.input[2]].item() if len(node.input) > 2 else 0
            found.append(
                _Quantizer(
                    source=node.input[0],
                    name=maker.name.split("/")[0] if maker is not None else node.input[0],
                    operator=maker.op_type if maker is not None else "input",
                    codes=node.output[0],
                    affine=QuantizationParams(self.constants[node.input[1]].item(), zero),
                )
            )
        return found


def layers(plain: Model, int8: Model, pixels: Pixels) -> tuple[Layer, ...]:
    """Compare each quantized tensor with the float tensor of the same name; () without any."""
    known = {name for node in plain.proto.graph.node for name in node.output}
    pairs = [
        (quantizer.source.removesuffix(_BEFORE), quantizer)
        for quantizer in int8.quantizers()
        if quantizer.source.removesuffix(_BEFORE) in known
    ]
    if not pairs:
        return ()
    shown = {output.name for output in plain.proto.graph.output}
    floats = tuple(name for name, _ in pairs)
    codes = tuple(quantizer.codes for _, quantizer in pairs)
    first = plain.open(False, tuple(name for name in floats if name not in shown))
    second = int8.open(False, codes)
    sums = [LayerStats(channel_axis=1) for _ in pairs]
    for before, after in zip(
        plain.batches(first, pixels, floats), int8.batches(second, pixels, codes), strict=True
    ):
        for expected, found, (_, quantizer), total in zip(before, after, pairs, sums, strict=True):
            total.add(expected, *_as_int8(found, quantizer.affine))
    return tuple(
        total.layer(quantizer.name, quantizer.operator)
        for total, (_, quantizer) in zip(sums, pairs, strict=True)
    )


def _as_int8(
    codes: npt.NDArray[Any], affine: QuantizationParams
) -> tuple[npt.NDArray[np.int8], tuple[float, int]]:
    if codes.dtype == np.uint8:
        return (codes ^ 128).view(np.int8), (affine.scale, affine.zero_point - 128)
    return codes, (affine.scale, affine.zero_point)


def lint(model: Model) -> list[LintFinding]:
    """Check the graph, as the file holds it and as the engine rewrites it."""
    name = model.artifact.path.name
    axis = model.proto.graph.input[0].type.tensor_type.shape.dim[0]
    free = not axis.HasField("dim_value")
    quantizers = model.quantizers()
    found = None
    if quantizers:
        # The scores are float where a softmax stands behind the last quantiser.
        answers = model.proto.graph.node[-1].op_type == "DequantizeLinear"
        found = (quantizers[0].affine, quantizers[-1].affine if answers else None)
    return [
        *lint_quantization(model.artifact, found),
        LintFinding(name, "batch", free, "free" if free else "frozen"),
        *_lint_optimized(model, bool(quantizers)),
    ]


def _lint_optimized(model: Model, quantized: bool) -> list[LintFinding]:
    """What is left of the graph once the engine has rewritten it for this processor."""
    import onnx

    with tempfile.TemporaryDirectory(prefix="digit-edge-") as folder:
        path = Path(folder, "optimized.onnx")
        model.open(True, save=str(path))
        nodes = onnx.load(str(path)).graph.node
    counts = Counter(node.op_type for node in nodes)
    name = model.artifact.path.name
    told = ", ".join(kind if n == 1 else f"{n} {kind}" for kind, n in sorted(counts.items()))
    findings = [LintFinding(name, "operators after optimization", True, f"{len(nodes)}: {told}")]
    if quantized:
        real = {out for node in nodes if node.op_type == "DequantizeLinear" for out in node.output}
        outside = [node.op_type for node in nodes if real & set(node.input)]
        findings.append(
            LintFinding(
                name,
                "operators outside the integer kernels",
                # What the softmax begins with, of our own models that of a look-up.
                not set(outside) - {"Softmax", "Mul"},
                ", ".join(outside) or "none",
            )
        )
    return findings
