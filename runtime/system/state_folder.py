"""The folder in which services keep their state between two runs."""

import os
from pathlib import Path


def state_folder() -> Path:
    """Return $STATE_DIRECTORY, which systemd sets; otherwise digit-edge/ in the user's state.

    The user's state is $XDG_STATE_HOME, otherwise ~/.local/state.
    """
    # StateDirectory= of the unit may name several folders, separated by colons; use the first.
    systemd_folder = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if systemd_folder:
        return Path(systemd_folder)
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "digit-edge"
