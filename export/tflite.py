"""python -m export.tflite: .keras → .tflite, float32 or int8."""

import sys
from typing import TYPE_CHECKING

from export.calibration import Calibration
from export.cli import run
from export.keras_model import KerasModel, serving_function
from export.pipeline import ExportTarget
from export.softmax_lut import replace_softmax_with_lut_tflite
from export.verify import Signature
from runtime.cli.exit_status import exit_status
from runtime.errors import ArtifactError
from runtime.model.spec import QuantizationParams
from runtime.system import atomic_write
from runtime.system.native_output import suppress_native_output

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

# A model of these layers without its weights is a few KB: a converter that lost them says nothing.
_BYTES_PER_WEIGHT = {"float32": 4, "int8": 1}


def convert(source: KerasModel, calibration: Calibration | None = None) -> bytes:
    """The model as a bare .tflite file; int8 in and inside where `calibration` is given.

    Raises:
        ArtifactError: the converter refuses the model, or loses its weights.
    """
    with suppress_native_output(1, 2):  # "Saved artifact at …", converter warnings
        import keras
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # `suppress_native_output` misses these in a notebook
        with atomic_write.temporary_folder() as folder:
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
            try:
                data = converter.convert()
                if calibration is not None:
                    data = replace_softmax_with_lut_tflite(_quantize(data))
                data = bytes(data)
            except (ValueError, RuntimeError, tf.errors.OpError) as error:
                raise ArtifactError(
                    f"TFLite's converter refuses {source.artifact.path} ({error}): "
                    "use layers that TFLite knows"
                ) from error
    precision = "float32" if calibration is None else "int8"
    weights = source.model.count_params() * _BYTES_PER_WEIGHT[precision]
    if len(data) < weights:
        raise ArtifactError(
            f"TFLite's converter lost the weights of {source.artifact.path}: {len(data)} bytes "
            f"for {weights} bytes of weights; convert it with the pinned TensorFlow"
        )
    return data


def _quantize(calibrated: bytes) -> bytes:
    """int8 throughout but the softmax.

    An int8 softmax answers in steps of 1/256: no confidence is above 0.996. The converter itself
    quantises everything or chooses itself; its second half lets the caller choose.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    return mlir_quantize(
        calibrated,
        input_data_type=tf.int8,
        output_data_type=tf.float32,
        denylisted_ops={"SOFTMAX"},
    )


def describe(data: bytes) -> Signature:
    """What a bare .tflite file calls its input and output.

    Raises:
        ArtifactError: LiteRT refuses it, or it has not one input and one output.
    """
    interpreter = _open(data)
    source, result = interpreter.get_input_details(), interpreter.get_output_details()
    if len(source) != 1 or len(result) != 1:
        raise ArtifactError("the model has not one input and one output")
    signatures = interpreter.get_signature_list()
    if signatures:  # the tensors themselves keep the converter's names
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


def quantization(data: bytes) -> tuple[QuantizationParams, QuantizationParams | None] | None:
    """How a bare .tflite file quantises its input and output; None where each is float."""
    interpreter = _open(data)
    details = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    (scale_in, zero_in), (scale_out, zero_out) = (detail["quantization"] for detail in details)
    if not scale_in:
        return None
    return QuantizationParams(scale_in, zero_in), QuantizationParams(
        scale_out, zero_out
    ) if scale_out else None


def _open(data: bytes) -> "Interpreter":
    from ai_edge_litert.interpreter import Interpreter

    try:
        with suppress_native_output(2):
            return Interpreter(model_content=data)
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(f"LiteRT refuses the model: {error}") from error


TARGET = ExportTarget("TFLite", ".tflite", convert, describe, quantization)


def main(argv: list[str] | None = None) -> int:
    """The command `python -m export.tflite`."""
    return run([TARGET], argv)


if __name__ == "__main__":
    sys.exit(exit_status(main, needs_stdout=False))
