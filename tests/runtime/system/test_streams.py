"""Standard output that cannot be written: one line on stderr, status 2, and the work is done."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PNG = str(next((ROOT / "examples").glob("*.png")))
LOST = "error: cannot write to standard output: {}; {} and run the command again\n"
FULL = LOST.format("No space left on device", "make room")
COMMANDS = [
    ["runtime", PNG],
    ["runtime", "--csv", PNG],
    ["runtime", "--json", "--jobs", "2", str(ROOT / "examples")],
    ["runtime.read", PNG],
    ["runtime.selftest"],
    *(
        [module, "--help"]
        for module in (
            "runtime",
            "runtime.watch",
            "runtime.signing",
            "runtime.update",
            "train",
            "export",
            "export.spec",
            "export.web",
            "benchmarks",
            "benchmarks.compare",
            "benchmarks.placement",
            "benchmarks.robustness",
            "benchmarks.photos",
            "deploy.bundle",
        )
    ),
]
PRINT_AND_SAVE = (
    "import sys\nfrom pathlib import Path\nfrom runtime.cli.exit_status import exit_status\n"
    "def main():\n    print('epoch 1', flush=True)\n    Path(sys.argv[1]).write_text('model')\n"
    "    print('done')\n    return 0\n"
    "sys.exit(exit_status(main))"
)


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    options = {"stderr": subprocess.PIPE, **options}
    return subprocess.run([sys.executable, *arguments], env=environment, text=True, **options)


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:2]))
def test_full_standard_output_is_one_line(arguments, tmp_path):
    with open("/dev/full", "w") as full:
        done = run("-m", *arguments, stdout=full, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, FULL)


@pytest.mark.parametrize("options", [[], ["-u"]])
def test_work_is_done_although_its_lines_are_lost(tmp_path, options):
    with open("/dev/full", "w") as full:
        done = run(*options, "-c", PRINT_AND_SAVE, str(tmp_path / "model"), stdout=full)
    assert (done.returncode, done.stderr) == (2, FULL)
    assert (tmp_path / "model").read_text() == "model"


def test_closed_standard_output_is_one_line():
    done = run("-m", "runtime", PNG, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (2, LOST.format("it is closed", "redirect the output"))


def test_closed_terminal_is_one_line():
    controller, terminal = os.openpty()
    os.close(controller)
    done = run("-m", "runtime", PNG, stdout=terminal)
    os.close(terminal)
    assert (done.returncode, done.stderr) == (
        2,
        LOST.format("Input/output error", "redirect the output"),
    )


@pytest.mark.parametrize("options", [[], ["-u"]])
def test_file_size_limit_is_one_line(tmp_path, options):
    with open(tmp_path / "out", "w") as out:
        done = run(
            *options, "-m", "runtime", "--help", stdout=out,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, LOST.format("File too large", "make room"))


@pytest.mark.parametrize(("image", "status"), [(PNG, 0), ("nowhere.png", 2)])
def test_status_is_correct_if_standard_error_is_full(image, status):
    with open("/dev/full", "w") as full:
        done = run("-m", "runtime", image, stdout=subprocess.PIPE, stderr=full)
    assert done.returncode == status


def test_error_is_not_printed_on_standard_output_if_standard_error_is_closed():
    done = run(
        "-m", "runtime", "nowhere.png", stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2)
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_help_into_a_closed_pipe_is_not_an_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = run("-m", "runtime", "--help", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
