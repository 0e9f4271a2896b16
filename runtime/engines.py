"""The table of supported engines.

`runtime.backends` opens models by this table. The module imports no engine, NumPy or Pillow, so
that commands can list the engines in their `--help` without delay.
"""

import importlib.util
from typing import NamedTuple


class Engine(NamedTuple):
    """One supported engine.

    Attributes:
        name: the value of `--backend`.
        suffix: of the model files that it opens.
        module: the module of `runtime.backends` that drives it.
        package: the Python package that must be installed.
        extra: the extra of digit-edge that installs the package; the name of the engine if Python
            contains the package.
        imports: the module of the package that a program imports to run a model.
    """

    name: str
    suffix: str
    module: str
    package: str
    extra: str
    imports: str

    def installed(self) -> bool:
        """Return whether the engine's package is installed; importing it may still fail.

        The engine native is installed if there is a C compiler.
        """
        if self.suffix == ".c":
            return c_compiler() is not None
        return importlib.util.find_spec(self.package) is not None


_BACKENDS = f"{__package__}.backends"  # `runtime.backends`; in the wheel a part of digit_edge

# If several engines open a file, the first installed one is used.
ENGINES = (
    Engine(
        "litert", ".tflite", f"{_BACKENDS}.litert", "ai_edge_litert", "litert",
        "ai_edge_litert.interpreter",
    ),
    Engine(
        "tflite-runtime", ".tflite", f"{_BACKENDS}.litert", "tflite_runtime", "tflite",
        "tflite_runtime.interpreter",
    ),
    Engine("onnxruntime", ".onnx", f"{_BACKENDS}.onnx", "onnxruntime", "onnx", "onnxruntime"),
    # The model as C, compiled on this machine; see `c_compiler`.
    Engine("native", ".c", f"{_BACKENDS}.native", "ctypes", "native", "ctypes"),
)  # fmt: skip

NAMES = tuple(row.name for row in ENGINES)


def engine_name(name: str) -> str:
    """Return the name of the engine that an extra installs; any other text is returned unchanged.

    So that a user who installed the extra `onnx` can pass it as the engine, onnxruntime.
    """
    return next((row.name for row in ENGINES if row.extra == name), name)


def c_compiler() -> str | None:
    """Return the path of the C compiler `cc`; None if none is installed."""
    import shutil  # here, because only models in C need it

    return shutil.which("cc")


def install_hint(engine: str) -> str:
    """Return the command that installs an engine of `ENGINES`."""
    extra = next(row.extra for row in ENGINES if row.name == engine)
    if extra == "native":
        return "install a C compiler (Debian: apt install gcc libc6-dev)"
    return f'pip install "digit-edge[{extra}]"'
