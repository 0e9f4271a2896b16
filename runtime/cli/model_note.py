"""What commands say about their model on stderr: which one it is, and which one is not used."""

import sys
from pathlib import Path

from runtime.errors import printable
from runtime.model.default_model import PRETRAINED, find_unused_own_model


def report_unused_model(model: str | None, backend: str | None = None) -> None:
    """Print a line on stderr if the published model is used and `models/` has another one.

    Args:
        model: the value of --model; with a model, nothing is printed.
        backend: the value of --backend.
    """
    own = find_unused_own_model(backend) if model is None else None
    if own is not None:
        print(
            printable(f"using the published model; {own} exists: pass --model {own} to use it"),
            file=sys.stderr,
        )


def describe_model(path: Path, engine: str) -> str:
    """Return a text for the user that names the model and the engine."""
    name = f"the published model {path.name}" if path.parent == PRETRAINED else str(path)
    return f"{name} on {engine}"
