"""The names and folders of this project's modules, to run them as programs of their own.

A checkout has the packages `runtime`, `benchmarks`, …; an installed wheel has them inside the
package `digit_edge`.
"""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

_PREFIX = __name__.removesuffix("runtime.system.own_modules")  # "digit_edge." in a wheel
PARENT = Path(__file__).resolve().parents[2]  # the folder of the packages


def qualified(name: str) -> str:
    """Return the full name of a module, as `python -m` needs it.

    Args:
        name: in a checkout, such as "runtime.serve".
    """
    return _PREFIX + name


def archive_path(file: Path) -> str:
    """Return the path of a file of a package, relative to a folder on `sys.path`."""
    return _PREFIX.replace(".", "/") + file.relative_to(PARENT).as_posix()


@functools.cache
def import_folder() -> Path:
    """Return a folder from which another Python can import the packages, and nothing more.

    A wheel is installed beside packages of other distributions, which another Python must not see.
    So its folder is a temporary one with a link.
    """
    if not _PREFIX:
        return PARENT
    folder = Path(tempfile.mkdtemp(prefix="digit-edge-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / PARENT.name).symlink_to(PARENT, target_is_directory=True)
    return folder
