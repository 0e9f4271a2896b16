"""Engines must not send telemetry: no files in the home folder and no background threads."""

import os
import subprocess
import sys

import pytest

from runtime.backends import ENGINES

# The engine native is ours; it keeps its libraries in the cache.
INSTALLED = [e for e in ENGINES if e.installed() and e.name != "native"]
SCRIPT = """
import os, sys
from pathlib import Path
import runtime
from runtime import Classifier
folder = Path(runtime.__file__).parent / "pretrained"
Classifier.load(folder / f"digits{sys.argv[1]}", backend=sys.argv[2]).spec
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="reads Linux's /proc")
@pytest.mark.parametrize("engine", INSTALLED, ids=lambda engine: engine.name)
def test_engine_writes_nothing_to_the_home_folder_and_starts_no_thread(engine, tmp_path):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    inherited.pop("ORT_DISABLE_TELEMETRY", None)
    # NumPy's OpenBLAS would start its own threads.
    changed = {"HOME": str(tmp_path), "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, engine.suffix, engine.name],
        env=inherited | changed,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*")) == []
    assert done.stdout.strip() == "1"
