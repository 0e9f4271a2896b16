"""python -m export.onnx: .keras → .onnx, float32 or int8."""

import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.calibration import Calibration
from export.command import Target, run
from export.softmax import look_up_in_onnx
from export.source import INPUT_NAME, Source, endpoint
from export.verify import Signature
from runtime.errors import ArtefactError, exit_status
from runtime.quiet import quiet
from runtime.spec import Affine

if TYPE_CHECKING:
    import onnx

# Read by onnxruntime from 1.14 on; tf2onnx writes nothing later than 18.
OPSET = 17
IR_VERSION = 8
_ROLES = {
    ("conv", 1): "weight",
    ("conv", 2): "bias",
    ("matmul", 1): "weight",
    ("add", 1): "bias",
    ("reshape", 1): "shape",
}


def convert(source: Source, calibration: Calibration | None = None) -> bytes:
    """The model as a bare .onnx file; static QDQ int8 inside where `calibration` is given.

    Raises:
        ArtefactError: tf2onnx refuses the model.
    """
    with quiet(1, 2):
        import tf2onnx

        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        function = endpoint(source.model)
        try:
            model, _ = tf2onnx.convert.from_function(
                function, input_signature=function.input_signature, opset=OPSET
            )
        except (ValueError, RuntimeError, KeyError) as error:
            raise ArtefactError(
                f"tf2onnx refuses {source.artefact.path} ({error}): use layers that ONNX knows"
            ) from error
    _rename(model.graph)
    if calibration is not None:
        model = _quantize(model, calibration)
    _tidy(model)
    return model.SerializeToString(deterministic=True)


def _rename(graph: "onnx.GraphProto") -> None:
    """Name every node after its operator, its tensors after the node: conv1, conv1.weight.

    The converter's names (unk__52, StatefulPartitionedCall/…) tell a reader nothing, and count on
    from one conversion to the next.
    """
    constants = {tensor.name for tensor in graph.initializer}
    renamed = {INPUT_NAME: INPUT_NAME, graph.output[0].name: graph.output[0].name}
    seen: Counter[str] = Counter()
    for node in graph.node:
        kind = node.op_type.lower()
        seen[kind] += 1
        node.name = f"{kind}{seen[kind]}"
        for place, name in enumerate(node.input):
            if name in constants:
                role = _ROLES.get((kind, place), f"input{place}")
                renamed.setdefault(name, f"{node.name}.{role}")
        for name in node.output:
            renamed.setdefault(name, node.name)
        node.input[:] = [renamed[name] for name in node.input]
        node.output[:] = [renamed[name] for name in node.output]
    for tensor in graph.initializer:
        tensor.name = renamed[tensor.name]
    del graph.value_info[:]


def _tidy(model: "onnx.ModelProto") -> None:
    """Name the graph and its free axis as a reader would, and drop what nothing uses."""
    model.ir_version = IR_VERSION
    model.graph.name = "digit-edge"
    model.graph.doc_string = ""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    # Converter and quantiser declare operator sets that no node uses; an engine may refuse them.
    used = {node.domain for node in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _quantize(model: "onnx.ModelProto", calibration: Calibration) -> "onnx.ModelProto":
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quant_pre_process,
        quantize_static,
    )

    class Samples(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = calibration.batches()

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT_NAME: batch}

    with tempfile.TemporaryDirectory() as folder, quiet(1, 2):
        plain, prepared, quantized = (Path(folder, f"{n}.onnx") for n in ("plain", "prepared", "q"))
        onnx.save(model, plain)
        # Fuses MatMul and Add, so that the biases are quantised with their products. Symbolic
        # shapes would need sympy, and this graph has none but the batch.
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            Samples(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            # Quantised, the scores would be steps of 1/256, none above 0.996.
            nodes_to_exclude=[node.name for node in model.graph.node if node.op_type == "Softmax"],
        )
        model = onnx.load(quantized)
    look_up_in_onnx(model)
    return model


def describe(data: bytes) -> Signature:
    """What a bare .onnx file calls its input and output.

    Raises:
        ArtefactError: it is no ONNX model, or has not one input and one output.
    """
    graph = _load(data).graph
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise ArtefactError("the model has not one input and one output")
    source, result = graph.input[0], graph.output[0]
    return Signature(source.name, result.name, *(_shape(value) for value in (source, result)))


def quantization(data: bytes) -> tuple[Affine, Affine | None] | None:
    """How an .onnx file quantises its input and scores, inside; None where each is float."""
    import onnx

    graph = _load(data).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    # Nodes stand in the order of execution: the input passes the first quantiser. The scores are
    # quantised where no softmax stands behind the last one.
    quantizers = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    if not quantizers:
        return None
    scale_in, zero_in = (values[name].item() for name in quantizers[0].input[1:3])
    if graph.node[-1].op_type != "DequantizeLinear":
        return Affine(scale_in, zero_in), None
    scale_out, zero_out = (values[name].item() for name in quantizers[-1].input[1:3])
    return Affine(scale_in, zero_in), Affine(scale_out, zero_out)


def _load(data: bytes) -> "onnx.ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ArtefactError(f"it is no valid ONNX model: {error}") from error
    return model


def _shape(value: "onnx.ValueInfoProto") -> tuple[int | None, ...]:
    axes = value.type.tensor_type.shape.dim
    return tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in axes)


TARGET = Target("ONNX", ".onnx", convert, describe, quantization)


def main(argv: list[str] | None = None) -> int:
    """The command `python -m export.onnx`."""
    return run([TARGET], argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
