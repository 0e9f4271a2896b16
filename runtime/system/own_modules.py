"""Commands that start a module of this project in a new process.

`python -m` imports from the working directory first. A user's own `runtime` folder, `train.py` or
`numpy.py` there would replace ours. The commands made here never import from it.
"""

import sys
from pathlib import Path

_PREFIX = __name__.removesuffix("runtime.system.own_modules")  # "digit_edge." in the wheel
# The folder from which our packages can be imported: the checkout, or a site-packages folder.
ROOT = Path(__file__).resolve().parents[__name__.count(".")]
# In a checkout our packages come first. In the wheel, `ROOT` is a site-packages folder, perhaps of
# another Python than the one that is started; so that Python's own packages come first.
_SEARCH_PATH = "[*path, root]" if _PREFIX else "[root, *path]"
# `sys` is built in; everything else is imported without the working directory, which is "".
_PROGRAM = (
    "import sys; root, module, *sys.argv[1:] = sys.argv[1:]; path = [*filter(None, sys.path)]; "
    f"sys.path[:] = {_SEARCH_PATH}; "
    "import runpy; runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: str, python: str = sys.executable) -> list[str]:
    """Return a command that runs a module like `python -m`, without the working directory's.

    Args:
        module: the name of the module; for one of ours, see `own_name`.
        arguments: of the module.
        python: the Python that runs it.
    """
    return [python, "-c", _PROGRAM, str(ROOT), module, *arguments]


def own_name(module: str) -> str:
    """Return the name of one of our modules: in the wheel, it begins with digit_edge."""
    return _PREFIX + module
