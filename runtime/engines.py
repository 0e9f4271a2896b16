"""The table of engines, without importing any of them, NumPy or Pillow."""

import importlib.util
from typing import NamedTuple


class Engine(NamedTuple):
    """An engine: what it opens, the module that drives it, the package it needs, its extra.

    `imports` is the module of that package that a program has to import to run a model.
    """

    name: str
    suffix: str
    module: str
    package: str
    extra: str
    imports: str

    def installed(self) -> bool:
        """Whether its package can be found; importing it may still fail."""
        return importlib.util.find_spec(self.package) is not None


# In the order of preference among those that open the same files.
ENGINES = (
    Engine(
        "litert", ".tflite", "runtime.backends.litert", "ai_edge_litert", "litert",
        "ai_edge_litert.interpreter",
    ),
    Engine(
        "tflite-runtime", ".tflite", "runtime.backends.litert", "tflite_runtime", "tflite",
        "tflite_runtime.interpreter",
    ),
    Engine("onnxruntime", ".onnx", "runtime.backends.onnx", "onnxruntime", "onnx", "onnxruntime"),
)  # fmt: skip


def install_hint(engine: str) -> str:
    """The command that installs an engine."""
    extra = next(row.extra for row in ENGINES if row.name == engine)
    return f'pip install "digit-edge[{extra}]"'
