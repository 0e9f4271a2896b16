"""The full names and folders of this project's modules, to run them in another Python process.

A checkout has the packages `runtime`, `benchmarks` and others at the top level. An installed wheel
has them inside the package `digit_edge`. The benchmarks use this module to start their workers and
to copy the packages to a remote device.
"""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

_PREFIX = __name__.removesuffix("runtime.system.own_modules")  # "digit_edge." in a wheel
PARENT = Path(__file__).resolve().parents[2]  # the folder of the packages


def qualified(name: str) -> str:
    """Return the full name of a module, for `python -m`.

    Args:
        name: the name in a checkout, such as "runtime.serve".

    Returns:
        In a wheel, the name after "digit_edge."; in a checkout, `name` itself.
    """
    return _PREFIX + name


def archive_path(file: Path) -> str:
    """Return a file's path for a zip archive from which Python imports the packages.

    Args:
        file: a file below `PARENT`.

    Returns:
        For example "runtime/read.py"; in a wheel "digit_edge/runtime/read.py".

    Raises:
        ValueError: the file is not below `PARENT`.
    """
    return _PREFIX.replace(".", "/") + file.relative_to(PARENT).as_posix()


@functools.cache
def import_folder() -> Path:
    """Return a folder from which another Python can import this project's packages only.

    In a checkout, this is the checkout. A wheel is installed beside packages of other
    distributions, which another Python must not import. So for a wheel, the folder is a temporary
    one that contains a link to `digit_edge`. Python deletes it at exit.
    """
    if not _PREFIX:
        return PARENT
    folder = Path(tempfile.mkdtemp(prefix="digit-edge-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / PARENT.name).symlink_to(PARENT, target_is_directory=True)
    return folder
