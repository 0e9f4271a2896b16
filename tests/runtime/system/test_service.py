"""`ServiceLifecycle`: SIGTERM at any moment."""

import subprocess
import sys

# A handler that takes a lock, as that of threading.Event, hung in about 1 of 500 of these rounds.
ROUNDS = 1500
SCRIPT = f"""
import os, random, signal, time
from runtime.system.service import ServiceLifecycle

for round in range({ROUNDS}):
    with ServiceLifecycle() as lifecycle:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.read(reader, 1)
            end = time.perf_counter() + random.random() * 1e-4
            while time.perf_counter() < end:
                pass
            os.kill(os.getppid(), signal.SIGTERM)
            os._exit(0)
        os.write(writer, b"x")
        assert lifecycle.wait(60) is False
        assert lifecycle.stopping
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
print("ended")
"""


def test_sigterm_at_any_moment_ends_the_wait():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.stdout, done.stderr) == ("ended\n", "")


def test_wait_without_a_signal_lasts_as_long_as_asked():
    script = (
        "import time; from runtime.system.service import ServiceLifecycle\n"
        "with ServiceLifecycle() as lifecycle:\n"
        "    start = time.monotonic(); assert lifecycle.wait(0.2)\n"
        "    assert time.monotonic() - start >= 0.2\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
