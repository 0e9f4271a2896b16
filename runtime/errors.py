"""The error hierarchy, and how a command reports one.

    EdgeError                   anything this project refuses
    ├── ArtefactError           a model file: damaged, of another shape, without a spec
    ├── ImageError              an image: unreadable, empty, too large, not an image
    ├── DatasetError            a data set: absent, damaged, a class missing
    ├── BackendUnavailable      an engine or a device that is not installed or not there
    └── ParityError             an artefact that does not answer as its original does

Each message is one line: what was wrong, with which file, and what to do next.
"""

import io
import os
import sys
from collections.abc import Callable

BAD_INPUT = 2
CHECK_FAILED = 3
INTERRUPTED = 130


class EdgeError(Exception):
    """Anything this project refuses; `exit_code` is what a command ends with."""

    exit_code = BAD_INPUT


class ArtefactError(EdgeError):
    """A model file is damaged, of another shape, or does not explain itself."""


class ImageError(EdgeError):
    """An image cannot be read, is empty, too large, or no image at all."""


class DatasetError(EdgeError):
    """A data set is absent, damaged, or unfit for what was asked of it."""


class BackendUnavailable(EdgeError):
    """The engine or the device asked for is not installed or not present."""


class ParityError(EdgeError):
    """An artefact does not answer as the model it came from."""

    exit_code = CHECK_FAILED


def report(error: EdgeError) -> None:
    """Print `error: …` on stderr, on one line whatever the message holds."""
    print("error:", " ".join(str(error).split()), file=sys.stderr)


def exit_status(main: Callable[[], int]) -> int:
    """Run a command and turn what it refuses into a message and an exit status.

    0 done · 2 bad input or usage · 3 a check that failed · 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        # A file name or a tick that the terminal's encoding lacks is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = main()
        sys.stdout.flush()
        return status
    except EdgeError as error:
        report(error)
        return error.exit_code
    except ModuleNotFoundError as error:
        # The device has the runtime alone; what trains and exports is asked for by name.
        package = (error.name or "").partition(".")[0]
        if package in ("", "train", "export", "runtime", "benchmarks"):
            raise
        report(EdgeError(f'{package} is not installed: pip install "digit-edge[train]"'))
        return BAD_INPUT
    except MemoryError:
        report(EdgeError("out of memory: end other programs, or raise the limit on this one"))
        return BAD_INPUT
    except BrokenPipeError:
        # The reader left (`… | head`); without this the interpreter complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
