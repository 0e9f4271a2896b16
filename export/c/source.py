"""Generate the C99 code of a model: a `.c` and a `.h` file, for example `digits.c` and `digits.h`.

`export.c.write` calls `write_c` for `digit-edge export-c`. The code consists of the model's
parameters, which this module formats, and of C functions from the folder `pieces`.
"""

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.c.network import (
    Convolution,
    Cropping,
    Dense,
    GlobalAverage,
    Layer,
    Limiting,
    Network,
    Padding,
    Pooling,
    Requantization,
    Shape,
    Window,
    read_network,
)
from runtime.errors import ArtifactError
from runtime.model.artifact import Artifact
from runtime.model.rejection import GRID_SHAPE
from runtime.model.spec import ModelSpec
from runtime.preprocess.form import INK

_PIECES = Path(__file__).parent / "pieces"  # folder of the C functions
_WIDTH = 100  # characters; the numbers of an array are wrapped to lines of at most this length
_INDENT = "    "
# Only models with this input shape get the function digits_preprocess.
_MNIST_FORM = Shape(28, 28, 1)
# A model with such a name would replace the file main.c, or the function digit_edge_classify.
_RESERVED_NAMES = ("main", "digit_edge")


@dataclass(frozen=True)
class CSource:
    """A model as C code.

    Attributes:
        name: name of both files, and prefix of all public functions and macros.
        header: text of the file `NAME.h`.
        code: text of the file `NAME.c`.
        workspace: size of the RAM that the caller provides, in bytes.
        constants: size of weights, biases, scales and tables in bytes, without golden images.
        multiplications: number of multiply-accumulates per image.
    """

    name: str
    header: str
    code: str
    workspace: int
    constants: int
    multiplications: int


def write_c(artifact: Artifact) -> CSource:
    """Generate the C code of an int8 .tflite artifact.

    Raises:
        ArtifactError: the artifact is not an int8 .tflite file, it contains no golden inputs, or a
            layer is not supported.
    """
    spec, network = artifact.spec, read_network(artifact)
    if spec.golden is None or len(spec.golden.pixels) == 0:
        raise ArtifactError(
            f"{artifact.path}: the artifact has no golden inputs, which the self-test of the C "
            "code needs; export the model again"
        )
    name = identifier(spec.name)
    workspace = network.workspace_bytes
    parameters = _Parameters()
    arrays = [
        _layer_arrays(layer, parameters)
        for layer in network.layers
        if isinstance(layer, (Convolution, Dense, GlobalAverage))
    ]
    softmax = parameters.words(
        "softmax_numerators",
        "uint32_t",
        network.softmax,
        "integers proportional to e^(-scale * k); k = steps below the largest logit",
    )
    rejection = _rejection(spec, parameters)
    header = _header(artifact, name, network, workspace)
    code = "\n".join(
        [
            _provenance(artifact, name, f"{name}.c"),
            _piece("contents"),
            header,
            _guards(),
            _labels(spec.labels),
            *_kernels(network),
            *arrays,
            *map(_layer, network.layers),
            _network_function(network),
            softmax,
            _piece("softmax"),
            rejection,
            _golden(spec.golden.pixels, spec.golden.scores),
            _piece("classify"),
            _piece("native"),
            f"#define PARAMETERS_CRC 0x{parameters.crc:08X}u\n",
            _piece("checksum"),
            *([] if spec.rejection_model is None else [_piece("checksum_of_floats")]),
            _piece("selftest").replace("    /* PARAMETERS */\n", parameters.calls()),
            *(_preprocessing() if network.input == _MNIST_FORM else []),
        ]
    )
    return CSource(
        name,
        _renamed(header, name),
        _renamed(code, name),
        workspace,
        parameters.size,
        network.multiplications,
    )


def identifier(text: str) -> str:
    """Convert a model's name to a C identifier in lower case: "my-digits" → "my_digits".

    A name that does not start with a Latin letter, and a reserved one, gets the prefix "model":
    "7seg" → "model_7seg".
    """
    name = re.sub(r"\W+", "_", text.lower(), flags=re.ASCII).strip("_")
    is_usable = re.match("[a-z]", name) and name not in _RESERVED_NAMES
    return name if is_usable else f"model_{name}".rstrip("_")


class _Parameters:
    """Format the model's constants as C, and compute their CRC-32 and size.

    The self-test computes the same CRC-32 on the device, over the constants in the same order.
    """

    def __init__(self) -> None:
        self.crc = 0
        self.size = 0
        self._calls: list[str] = []

    def signed_bytes(self, name: str, values: npt.NDArray[np.int8], comment: str = "") -> str:
        """Return the C definition of an int8_t array."""
        self._add("bytes", name, values.tobytes(), values.size)
        return array(f"static const int8_t {name}[{values.size}]", values.ravel(), comment)

    def words(self, name: str, kind: str, values: npt.NDArray[Any], comment: str = "") -> str:
        """Return the C definition of an int32_t or uint32_t array.

        Float32 values are written as their bits, in an uint32_t array.
        """
        bits = values.dtype == np.float32
        data = values.view(np.uint32) if bits else values.astype(np.uint32)
        self._add(
            "words", name, data.astype("<u4").tobytes(), values.size, signed=kind == "int32_t"
        )
        items = [f"0x{each:08X}" for each in data] if bits else values.ravel()
        return array(f"static const {kind} {name}[{values.size}]", items, comment)

    def floats(self, name: str, values: npt.NDArray[np.float32]) -> str:
        """Return the C definition of a float array."""
        self._add("floats", name, values.astype("<f4").tobytes(), values.size)
        items = [_float(value) for value in values]
        return array(f"static const float {name}[{values.size}]", items)

    def calls(self) -> str:
        """Return the C statements that compute the CRC-32 of all constants."""
        return "".join(self._calls)

    def _add(self, function: str, name: str, data: bytes, count: int, signed: bool = False) -> None:
        """Add an array to the CRC-32, to the size, and to the statements of `calls`."""
        self.crc = zlib.crc32(data, self.crc)
        self.size += len(data)
        cast = "(const uint32_t *)" if signed else ""
        self._calls.append(f"    crc = crc_of_{function}(crc, {cast}{name}, {count});\n")


def array(declaration: str, items: Iterable[Any], comment: str = "") -> str:
    """Return the C definition of an array.

    Args:
        declaration: type, name and size, as in "static const float weights[3]".
        items: the elements, converted with `str`.
        comment: text of a comment before the definition; empty for no comment.
    """
    lines, line = [], _INDENT
    for item in items:
        text = f"{item},"
        if len(line) + len(text) > _WIDTH:
            lines.append(line.rstrip())
            line = _INDENT
        line += f"{text} "
    lines.append(line.rstrip())
    head = f"/* {comment} */\n" if comment else ""
    return f"{head}{declaration} = {{\n" + "\n".join(lines) + "\n};\n"


def _layer_arrays(layer: Convolution | Dense | GlobalAverage, parameters: _Parameters) -> str:
    """Return the C arrays of a layer: weights, biases and scales."""
    name, arrays = layer.name, []
    if not isinstance(layer, GlobalAverage):
        arrays = [
            parameters.signed_bytes(f"{name}_weights", layer.weights),
            parameters.words(f"{name}_biases", "int32_t", layer.biases),
        ]
    scales = parameters.words(f"{name}_scales", "uint32_t", layer.requantization.scales)
    return "\n".join([*arrays, scales])


def _layer(layer: Layer) -> str:
    """Return the C struct of a layer: shapes, strides, and pointers to its arrays."""
    source, result = layer.input, layer.output
    shapes: dict[str, object] = {"input": _shape(source), "output": _shape(result)}
    if isinstance(layer, Dense):
        sizes = {"inputs": source.size, "outputs": result.size}
        return _struct("dense", layer.name, sizes | _parameters(layer))
    if isinstance(layer, Convolution):
        kind = "depthwise_convolution" if layer.depthwise else "convolution"
        windows = {name: _window(getattr(layer, name)) for name in ("kernel", "stride", "pool")}
        return _struct(kind, layer.name, shapes | windows | _parameters(layer))
    if isinstance(layer, GlobalAverage):
        rule = {"requantization": _requantization(layer.name, layer.requantization)}
        return _struct("global_average", layer.name, shapes | {"zero": layer.zero} | rule)
    if isinstance(layer, Limiting):
        limits = {"size": source.size, "least": layer.least, "most": layer.most}
        return _struct("limits", layer.name, limits)
    corner = {"top": layer.border.top, "left": layer.border.left}
    if isinstance(layer, Pooling):
        windows = {name: _window(getattr(layer, name)) for name in ("window", "stride")}
        limits = {"least": layer.least, "most": layer.most}
        return _struct("pooling", layer.name, shapes | windows | corner | limits)
    if isinstance(layer, Padding):
        return _struct("padding", layer.name, shapes | corner | {"zero": layer.zero})
    return _struct("cropping", layer.name, shapes | corner)


def _parameters(layer: Convolution | Dense) -> dict[str, object]:
    """Return the fields of a C struct that point to the arrays of a layer."""
    return {
        "weights": f"{layer.name}_weights",
        "biases": f"{layer.name}_biases",
        "requantization": _requantization(layer.name, layer.requantization),
    }


def _requantization(name: str, rule: Requantization) -> str:
    fields = {"zero": rule.zero, "least": rule.least, "most": rule.most}
    limits = ", ".join(f".{key} = {value}" for key, value in fields.items())
    return f"{{.scales = {name}_scales, {limits}}}"


def _struct(kind: str, name: str, fields: dict[str, Any]) -> str:
    lines = "".join(f"    .{key} = {value},\n" for key, value in fields.items())
    return f"static const struct {kind} {name}_layer = {{\n{lines}}};\n"


def _shape(shape: Shape) -> str:
    return f"{{{shape.height}, {shape.width}, {shape.channels}}}"


def _window(window: Window) -> str:
    return f"{{{window.height}, {window.width}}}"


def _size(shape: Shape) -> str:
    return f"{shape.height} x {shape.width} x {shape.channels}"


def _function(layer: Layer) -> str:
    """Return the name of the C function that computes a layer."""
    if isinstance(layer, Convolution):
        return "convolve_depthwise" if layer.depthwise else "convolve"
    if isinstance(layer, Pooling):
        return f"pool_{layer.kind}"
    functions: dict[type, str] = {
        Dense: "apply_dense",
        GlobalAverage: "average_all",
        Padding: "pad",
        Cropping: "crop",
        Limiting: "limit",
    }
    return functions[type(layer)]


def _kernels(network: Network) -> list[str]:
    """Return the C functions that the network needs. A compiler warns about an unused function."""
    used = {_function(layer) for layer in network.layers}
    pieces = ["shapes"]
    if used & {"convolve", "convolve_depthwise", "apply_dense", "average_all"}:
        pieces.append("requantize")
    if used & {"convolve", "apply_dense"}:
        pieces.append("dot")
    for function in ("convolve", "convolve_depthwise", "apply_dense"):
        if function in used:
            pieces.append("dense" if function == "apply_dense" else function)
    if used & {"pool_max", "pool_average"}:
        pieces.append("pool")
    pieces += [
        function
        for function in ("pool_max", "pool_average", "average_all", "pad", "crop", "limit")
        if function in used
    ]
    replaced = [
        f"#define USES_{name.upper()}\n" for name in ("convolve", "apply_dense") if name in used
    ]
    return [*map(_piece, pieces), *replaced, _piece("kernels")]


def _network_function(network: Network) -> str:
    """Return the C function run_network, which computes all layers."""
    places, before = [], "pixels"
    for number, layer in enumerate(network.layers):
        after = "workspace" if number % 2 == 0 else f"end - {layer.output.size}"
        places.append((before, after))
        before = after
    calls = [
        (f"{_function(layer)}(&{layer.name}_layer, {source}, {result});", _size(layer.output))
        for layer, (source, result) in zip(network.layers, places, strict=True)
    ]
    width = max(len(call) for call, _ in calls)
    lines = "".join(f"    {call:<{width}} /* {size} */\n" for call, size in calls)
    end = "    uint8_t *const end = workspace + DIGITS_WORKSPACE_BYTES;\n\n"
    needs_end = any("end" in result for _, result in places)
    return (
        "/* Return the logits of an image. Each layer reads its input from one end of the "
        "workspace and\n * writes its output to the other end. */\n"
        "static const uint8_t *run_network(const uint8_t *pixels, uint8_t *workspace)\n{\n"
        f"{end if needs_end else ''}{lines}    return {places[-1][1]};\n}}\n"
    )


def _rejection(spec: ModelSpec, parameters: _Parameters) -> str:
    """Return the C function is_accepted and its constants."""
    blank = _piece("blank" if spec.form == INK else "never_blank")
    model = spec.rejection_model
    if model is None:
        constant = (
            f"#define CONFIDENCE_THRESHOLD {spec.confidence_threshold!r} /* an image with a lower "
            "confidence is rejected */\n"
        )
        return "\n".join([constant, blank, _piece("rejection_by_confidence")])
    neurons = len(model.weights)
    comment = (
        f"{neurons} neurons, each [{GRID_SHAPE[0]} rows][{GRID_SHAPE[1]} columns] of 2 x 2 pixels"
    )
    return "\n".join(
        [
            f"#define REJECTION_NEURONS {neurons}",
            f"#define REJECTION_LOGIT_WEIGHT {model.logit_weight!r}",
            f"#define REJECTION_THRESHOLD {model.threshold!r} /* an image with a lower score is "
            "rejected */\n",
            parameters.signed_bytes("rejection_weights", model.weights, comment),
            *(
                parameters.floats(f"rejection_{name}", getattr(model, name))
                for name in ("scales", "biases", "outputs")
            ),
            blank,
            _piece("rejection_by_model"),
        ]
    )


def _golden(pixels: npt.NDArray[np.uint8], scores: npt.NDArray[np.float32]) -> str:
    """Return the C arrays of the golden images and of their scores."""

    def rows(values: Iterable[Iterable[Any]]) -> str:
        parts = []
        for row in values:
            text = array("", row).partition("{\n")[2].rpartition("\n}")[0]
            parts.append("    {\n" + re.sub("^", _INDENT, text, flags=re.M) + "\n    },\n")
        return "".join(parts)

    count = len(pixels)
    flat = pixels.reshape(count, -1)
    numbers = [[_float(value) for value in row] for row in scores]
    return (
        "/* Golden images and their scores, computed by LiteRT. The self-test compares the scores. "
        f"*/\n#define GOLDEN_IMAGES {count}\n\n"
        f"static const uint8_t golden_pixels[GOLDEN_IMAGES][DIGITS_PIXELS] = {{\n"
        f"{rows(flat)}}};\n\n"
        "static const float golden_scores[GOLDEN_IMAGES][DIGITS_CLASSES] = {\n"
        f"{rows(numbers)}}};\n"
    )


def _float(value: np.float32) -> str:
    """Return a C literal with exactly this float32 value."""
    text = np.format_float_scientific(value, unique=True, trim="0", exp_digits=1)
    return f"{text}f"


def _labels(labels: tuple[str, ...]) -> str:
    names = [f'"{_string(label)}"' for label in labels]
    return array("const char *const digits_labels[DIGITS_CLASSES]", names)


def _string(text: str) -> str:
    """Return the content of a C string literal; non-ASCII characters become octal UTF-8 escapes."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    )


def _provenance(artifact: Artifact, name: str, file: str) -> str:
    """Return the comment at the start of a file: model, source file and digest."""
    source = comment(artifact.path.name)
    return (
        f"/* {file}: the model {name}, generated by `digit-edge export-c` from {source}\n"
        f" * (SHA-256 {artifact.spec.digest}).\n"
        " * Do not edit this file; export the model again. */\n"
    )


def comment(text: str) -> str:
    """Make a text safe inside a C comment: replace non-ASCII characters, and split /* and */."""
    return text.encode("ascii", "replace").decode().replace("*/", "* /").replace("/*", "/ *")


def _guards() -> str:
    """Return the check that the device has an int of 32 bits."""
    return (
        "#include <limits.h>\n\n"
        "#if INT_MAX < 2147483647\n"
        '#error "this code needs a compiler with an int of 32 bits or more"\n'
        "#endif\n"
    )


def _header(artifact: Artifact, name: str, network: Network, workspace: int) -> str:
    """Return the text of the header file."""
    height, width, channels = network.input
    values = {
        "PROVENANCE": _provenance(artifact, name, f"{name}.h"),
        "HEIGHT": height,
        "WIDTH": width,
        "CHANNELS": channels,
        "CLASSES": len(artifact.spec.labels),
        "WORKSPACE_BYTES": workspace,
        "DIGEST": artifact.spec.digest,
        "PREPROCESS": _header_piece("preprocess") if network.input == _MNIST_FORM else "",
    }
    return re.sub(r"@(\w+)@", lambda found: str(values[found[1]]), _header_piece("header"))


def file_for(source: CSource, piece: str) -> str:
    """Return the text of a file in the folder `pieces`, adapted to a model.

    Args:
        source: the model; its name replaces "digits" in file names and public names.
        piece: file name, for example "program.c".
    """
    return _renamed((_PIECES / piece).read_text(), source.name)


def _preprocessing() -> list[str]:
    """Return digits_preprocess; the engine native, which does not call it, compiles faster."""
    pieces = map(_piece, ("mnist_format", "preprocess"))
    return ["#ifndef DIGIT_EDGE_KERNELS", *pieces, "#endif /* DIGIT_EDGE_KERNELS */\n"]


def _piece(name: str) -> str:
    return (_PIECES / f"{name}.c").read_text()


def _header_piece(name: str) -> str:
    return (_PIECES / f"{name}.h").read_text()


def _renamed(text: str, name: str) -> str:
    """Replace the prefix "digits" of public names and file names by the model's name."""
    text = re.sub(r"\bdigits(?=_[a-z]|\.[ch]\b)", name, text)
    return re.sub(r"\bDIGITS_(?=[A-Z])", f"{name.upper()}_", text)
