"""Export a trained model as TFLite, float32, float16 or int8.

The command is `digit-edge export-tflite`. `digit-edge export` uses this module too, through TARGET.
TensorFlow converts and quantizes the model, except for the softmax of an int8 model, which
`export.softmax_lut` replaces.
"""

import importlib
import re
import sys
from typing import Any

from export.calibration import Calibration
from export.cli import run
from export.keras_model import CONVERSION_ERRORS, KerasModel, serving_function
from export.pipeline import ExportTarget
from export.softmax_lut import replace_softmax_with_lut_tflite
from export.tflite_metadata import add_metadata
from export.verify import Signature
from runtime.backends.codec import Tensor
from runtime.cli.exit_status import exit_status
from runtime.errors import ArtifactError, ConversionError, first_line
from runtime.model.spec import QuantizationParams
from runtime.system import atomic_write
from runtime.system.native_output import suppress_native_output

# Precision → bytes of a weight. A file that is smaller than all weights together raises
# ConversionError, because the converter sometimes loses the weights without an error.
_BYTES_PER_WEIGHT = {"float32": 4, "float16": 2, "int8": 1}


def convert(source: KerasModel, calibration: Calibration | None = None) -> bytes:
    """Convert a model to TFLite, float32 or int8.

    The input of a float32 model is that of the Keras model: of this project's models float32
    (batch, height, width, channels) from 0 to 1. The input of an int8 model is int8, quantized,
    unless `calibration.has_float_io`; such a model also keeps its softmax, because firmware for
    microcontrollers knows few operators. The output is always float32 (batch, classes).

    Args:
        source: the model to convert.
        calibration: images for int8 quantization; None converts to float32.

    Returns:
        The bytes of a .tflite file without a spec.

    Raises:
        ConversionError: the converter cannot convert the model, or loses its weights.
    """
    return _convert(source, "float32" if calibration is None else "int8", calibration)


def convert_float16(source: KerasModel) -> bytes:
    """Convert a model to TFLite with float16 weights; input and output are those of float32.

    Args:
        source: the model to convert.

    Returns:
        The bytes of a .tflite file without a spec.

    Raises:
        ConversionError: the converter cannot convert the model, or loses its weights.
    """
    return _convert(source, "float16", None)


def _convert(source: KerasModel, precision: str, calibration: Calibration | None) -> bytes:
    with suppress_native_output(1, 2):  # "Saved artifact at …", converter warnings
        import keras
        import tensorflow as tf
        from tensorflow.lite.python.convert_phase import ConverterError

        # TensorFlow's log also appears in a notebook, despite `suppress_native_output`.
        tf.get_logger().setLevel("ERROR")
        with atomic_write.temporary_folder() as folder:
            try:
                function = serving_function(source.model)
                archive = keras.export.ExportArchive()
                archive.track(function.model)
                archive.add_endpoint("serve", function)
                archive.write_out(str(folder), verbose=False)
                converter = tf.lite.TFLiteConverter.from_saved_model(
                    str(folder), signature_keys=["serve"]
                )
                if calibration is not None:
                    converter.optimizations = [tf.lite.Optimize.DEFAULT]
                    converter.representative_dataset = lambda: ([x] for x in calibration.batches())
                    converter._experimental_calibrate_only = True
                elif precision == "float16":
                    converter.optimizations = [tf.lite.Optimize.DEFAULT]
                    converter.target_spec.supported_types = [tf.float16]
                converted = converter.convert()
                if calibration is not None:
                    converted = _quantize(converted, calibration.has_float_io)
                    if not calibration.has_float_io:
                        converted = replace_softmax_with_lut_tflite(converted)
                data = bytes(converted)
            except (*CONVERSION_ERRORS, tf.errors.OpError, ConverterError) as error:
                raise ConversionError(
                    f"TensorFlow cannot convert {source.artifact.path} to {precision} TFLite "
                    f"({_reason(error)}): use layers that TFLite supports"
                ) from error
    weights_bytes = source.model.count_params() * _BYTES_PER_WEIGHT[precision]
    if len(data) < weights_bytes:
        raise ConversionError(
            f"TensorFlow lost the weights of {source.artifact.path}: the .tflite file has "
            f"{len(data)} bytes, the weights {weights_bytes}; convert it with the pinned TensorFlow"
        )
    return data


def _reason(error: BaseException) -> str:
    """Return the sentence of a converter's error that names the operator, or its first line."""
    match = re.search(r"'tf\.[^']+' op .*", str(error))
    return first_line(ValueError(match[0])) if match else first_line(error)


def _quantize(calibrated: bytes, has_float_io: bool) -> bytes:
    """Quantize a calibrated model to int8, except for the softmax and, if wanted, the input.

    An int8 softmax returns multiples of 1/256, so no confidence would exceed 0.996.
    `TFLiteConverter` cannot exclude an operator from quantization. `mlir_quantize`, a function that
    `TFLiteConverter` calls internally, can exclude it.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    quantized: bytes = mlir_quantize(
        calibrated,
        input_data_type=tf.float32 if has_float_io else tf.int8,
        output_data_type=tf.float32,
        denylisted_ops={"SOFTMAX"},
    )
    return quantized


def describe(data: bytes) -> Signature:
    """Return the names and shapes of a model's input and output.

    Args:
        data: the bytes of a .tflite file.

    Raises:
        ArtifactError: LiteRT cannot open the file, or the model does not have one input and one
            output.
    """
    interpreter = _open(data)
    source, result = interpreter.get_input_details(), interpreter.get_output_details()
    if len(source) != 1 or len(result) != 1:
        raise ArtifactError(
            f"the model has {len(source)} inputs and {len(result)} outputs: use a model with one "
            "input and one output"
        )
    signatures = interpreter.get_signature_list()
    if signatures:  # a signature has the original names; tensors have names from the converter
        signature = next(iter(signatures.values()))
        names = signature["inputs"][0], signature["outputs"][0]
    else:
        names = source[0]["name"], result[0]["name"]
    return Signature(
        *names,
        *(
            tuple(None if n == -1 else int(n) for n in detail["shape_signature"])
            for detail in (source[0], result[0])
        ),
    )


def tensors(data: bytes) -> tuple[list[Tensor], list[Tensor]]:
    """Return the inputs and the outputs of a model.

    Args:
        data: the bytes of a .tflite file.

    Raises:
        ArtifactError: LiteRT cannot open the file.
    """
    interpreter = _open(data)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    return [*map(Tensor.of_tflite, inputs)], [*map(Tensor.of_tflite, outputs)]


def quantization(data: bytes) -> tuple[QuantizationParams, QuantizationParams | None] | None:
    """Return the quantization parameters (scale and zero point) of a model's input and output.

    Args:
        data: the bytes of a .tflite file.

    Returns:
        (parameters of the input, parameters of the output). A float input that the first operator
        quantizes counts as quantized. The second item is None if the output is not quantized. None
        instead of a tuple if the input is not quantized.

    Raises:
        ArtifactError: LiteRT cannot open the file.
    """
    interpreter = _open(data)
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    first = interpreter._get_ops_details()[0]
    if first["op_name"] == "QUANTIZE" and source["index"] in first["inputs"]:
        (index,) = first["outputs"]
        source = next(t for t in interpreter.get_tensor_details() if t["index"] == index)
    details = source, result
    (scale_in, zero_in), (scale_out, zero_out) = (detail["quantization"] for detail in details)
    if not scale_in:
        return None
    output_params = QuantizationParams(scale_out, zero_out) if scale_out else None
    return QuantizationParams(scale_in, zero_in), output_params


def _open(data: bytes) -> Any:
    """Return LiteRT's `Interpreter` of a .tflite file; the library has no type stubs."""
    engine = importlib.import_module("ai_edge_litert.interpreter")
    try:
        with suppress_native_output(2):
            return engine.Interpreter(model_content=data)
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(f"LiteRT cannot open the model: {error}") from error


# For `export.cli.run`.
TARGET = ExportTarget(
    "TFLite", ".tflite", convert, describe, quantization, add_metadata, convert_float16
)


def main(argv: list[str] | None = None) -> int:
    """Run `digit-edge export-tflite` and return its exit status."""
    return run([TARGET], argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
