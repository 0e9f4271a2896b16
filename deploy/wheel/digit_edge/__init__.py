"""Read handwritten digits, numbers, or classes of your own with a small exported network.

    from digit_edge import Classifier

    print(Classifier.load().classify("photo.jpg").label)

In an installed wheel, this package contains the packages `runtime`, `train`, `export` and
`benchmarks`. In a checkout these four are top-level packages; setup.py states the reason.
"""

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime import (
        ArtifactError,
        BackendUnavailable,
        Classifier,
        DatasetError,
        EdgeError,
        ImageError,
        ParityError,
        Prediction,
        __version__,
    )

__all__ = [
    "ArtifactError",
    "BackendUnavailable",
    "Classifier",
    "DatasetError",
    "EdgeError",
    "ImageError",
    "ParityError",
    "Prediction",
    "__version__",
]

# Whether this package was installed from a wheel, and not from a checkout (editable install).
_IS_WHEEL = Path(__file__).with_name("runtime").is_dir()


def own_name(name: str) -> str:
    """Return the name of a module of the project in this installation.

    Args:
        name: the module's name in a wheel, such as "digit_edge.runtime".

    Returns:
        The same name in a wheel; the name without "digit_edge." in a checkout.
    """
    return name if _IS_WHEEL else name.removeprefix("digit_edge.")


def import_own(name: str) -> ModuleType:
    """Import a module of the project.

    Args:
        name: the module's name in a wheel, such as "digit_edge.runtime.errors".

    Raises:
        ModuleNotFoundError: There is no such module.
    """
    return importlib.import_module(own_name(name))


def __getattr__(name: str) -> Any:
    # Import the names of `__all__` on first access only. `import digit_edge` is then so fast that
    # the command can handle Ctrl-C almost from its start.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_own("digit_edge.runtime"), name)
