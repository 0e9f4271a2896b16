"""`warn_if_readable`: tell the user that everybody on this machine can read a secret."""

import os
import stat
import sys
from pathlib import Path

from runtime.errors import printable


def warn_if_readable(path: Path) -> None:
    """Print a line on stderr if a file with a secret is readable by every user of this machine.

    Args:
        path: the file; nothing is printed if it does not exist.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if mode & stat.S_IROTH:
        name = printable(str(path))
        print(f"every user of this machine can read {name}: chmod 600 {name}", file=sys.stderr)
