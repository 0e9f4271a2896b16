"""The model that is used without `--model`: a published one, otherwise one in `models/`.

Imports neither NumPy nor an engine, so that the process that serves HTTP can use it.
"""

from pathlib import Path

from runtime.engines import ENGINES, engine_name, install_hint
from runtime.errors import ArtifactError, BackendUnavailable

PRETRAINED = Path(__file__).parents[1] / "pretrained"  # the published models
_OWN_MODELS = Path("models")  # in the working directory: the user's own models
# File names of the models that are used by default, the fastest on a small device first.
_DEFAULT_MODELS = ("digits-int8.tflite", "digits.onnx", "digits-int8.c")


def find_model(backend: str | None = None) -> Path:
    """Return the path of the default artifact: a published one, otherwise one in `models/`.

    Args:
        backend: name of the engine that must open it, or of its extra; by default any installed
            engine.

    Raises:
        ArtifactError: no default artifact exists.
        BackendUnavailable: no engine is installed.
    """
    suffixes = _usable_suffixes(backend)
    path = _first(PRETRAINED, suffixes) or _first(_OWN_MODELS, suffixes)
    if path is not None:
        return path
    if not suffixes:
        raise BackendUnavailable(f"no engine is installed: {install_hint(ENGINES[0].name)}")
    raise ArtifactError(
        f"no {' or '.join(_DEFAULT_MODELS)} in models: pass --model, "
        "or run digit-edge train, then digit-edge export"
    )


def find_unused_own_model(backend: str | None = None) -> Path | None:
    """Return the user's own model in `models/` if a different, published one is used by default.

    Args:
        backend: as for `find_model`.
    """
    suffixes = _usable_suffixes(backend)
    published, own = _first(PRETRAINED, suffixes), _first(_OWN_MODELS, suffixes)
    if published is None or own is None:
        return None
    try:
        return None if own.read_bytes() == published.read_bytes() else own
    except OSError:
        return own


def _first(folder: Path, suffixes: set[str]) -> Path | None:
    """Return the first default model that is in a folder; None if there is none."""
    paths = (folder / name for name in _DEFAULT_MODELS)
    return next((path for path in paths if path.suffix in suffixes and path.exists()), None)


def _usable_suffixes(backend: str | None) -> set[str]:
    """Return the suffixes of the models that the engine, or any installed one, opens."""
    return {
        row.suffix
        for row in ENGINES
        if (row.installed() if backend is None else row.name == engine_name(backend))
    }
