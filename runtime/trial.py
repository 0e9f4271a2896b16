"""Open and run a new model in a process of its own, before a service switches to it.

A model file can make its engine crash, hang or take all memory, and no check of the file excludes
this. `runtime.reload` calls `try_model`, so that such a file ends the other process, not the
service. The other process runs this module.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from runtime.backends import golden
from runtime.classifier import Classifier
from runtime.errors import ArtifactError, EdgeError
from runtime.model import artifact
from runtime.model.artifact import Artifact
from runtime.system.host import data_bytes
from runtime.system.own_modules import module_command, own_name

TIMEOUT_S = 20.0  # a trial that takes longer fails; shorter than a service's watchdog of 60 s
COMPILED_TIMEOUT_S = 45.0  # likewise for a .c model, which the C compiler translates first
# Memory that a model may need in the trial: this number, a multiple of its file, and the stacks.
_MEMORY_BYTES = 128 << 20
_MEMORY_PER_FILE_BYTE = 4  # the file, the engine's copy, packed weights, activations
_STACK_BYTES = 8 << 20  # of each thread of the engine
_FIRST_TO_BE_KILLED = "1000"  # oom_score_adj: out of memory, the kernel ends this process first


def try_model(opened: Artifact, backend: str | None, threads: int, device: str) -> None:
    """Check that a model opens and reproduces its golden outputs, in another process.

    The other process gets the bytes of the artifact, so the tested model is the one that the caller
    then uses. On the CPU, its memory is limited. Nothing is raised if the engine or the device is
    missing; the caller finds that out itself.

    Args:
        opened: the artifact.
        backend: see `Classifier.load`, as are the following arguments.
        threads: number of threads of the engine.
        device: the device.

    Raises:
        ArtifactError: the engine rejects the model, crashes, takes too long or needs too much
            memory, or the model does not reproduce its golden outputs.
        EdgeError: the process cannot be started.
    """
    command = module_command(
        own_name("runtime.trial"), str(opened.path), backend or "", str(threads), device
    )
    timeout_s = COMPILED_TIMEOUT_S if opened.format == ".c" else TIMEOUT_S
    try:
        done = subprocess.run(
            command,
            input=opened.data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            start_new_session=True,  # Ctrl-C in a terminal goes to the service only
        )
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(
            f"{opened.path} did not open and run within {timeout_s:g} s: use another model"
        ) from error
    except OSError as error:
        raise EdgeError(
            f"cannot start {sys.executable}: {error.strerror}; end other programs"
        ) from error
    if done.returncode == 0:
        return
    if done.returncode < 0:
        raise ArtifactError(
            f"{opened.path} ends its engine with {signal.Signals(-done.returncode).name}: do not "
            "use this model"
        )
    try:
        message = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        message = f"{opened.path} cannot be tried: its process ended with {done.returncode}"
    raise ArtifactError(message)


def main() -> int:
    """Try the model in standard input; return 0, or print the error as JSON and return 2."""
    path, backend, threads, device = sys.argv[1:]
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_BE_KILLED)
    try:
        opened = artifact.parse(Path(path), sys.stdin.buffer.read())
        # A GPU's driver maps much more memory than it uses, and a compiler needs its own.
        if device == "cpu" and opened.format != ".c":
            _limit_memory(len(opened.data), int(threads))
        classifier = Classifier.from_artifact(opened, backend or None, int(threads), device)
        golden.check_single(classifier.backend)
        golden.check(classifier.backend)
    except ArtifactError as error:
        message = str(error)
    except EdgeError:
        return 0
    except MemoryError:
        message = f"{path} needs too much memory: use a smaller model"
    else:
        return 0
    print(json.dumps(message), flush=True)
    return 2


def _limit_memory(file_bytes: int, threads: int) -> None:
    allowed = data_bytes() + _MEMORY_BYTES + _MEMORY_PER_FILE_BYTE * file_bytes
    allowed += (threads + 1) * _STACK_BYTES
    # macOS does not support this limit. The systemd units also limit the memory of the service; if
    # that is reached first, this process is the first to be killed.
    with suppress(ImportError, OSError, ValueError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # without the destructors of an engine that may be damaged
