"""Reading a digit is nobody else's business: no engine leaves traces or threads that report."""

import os
import subprocess
import sys

import pytest

from runtime.backends import ENGINES

INSTALLED = [engine for engine in ENGINES if engine.installed()]
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
def test_an_engine_leaves_nothing_in_the_home_and_starts_no_thread(engine, tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    kept.pop("ORT_DISABLE_TELEMETRY", None)
    # An OpenBLAS in NumPy has threads of its own.
    own = {"HOME": str(tmp_path), "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, engine.suffix, engine.name],
        env=kept | own,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*")) == []
    assert done.stdout.strip() == "1"
