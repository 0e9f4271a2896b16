"""A run that is interrupted at any moment and resumed has the rows of one that was not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PART = ("--part-rows", 20)


@pytest.fixture(scope="module")
def finished(bulk, folder, tmp_path_factory):
    """The output of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert bulk(folder, "--out", out, *PART).returncode == 0
    return out


@pytest.fixture(scope="module")
def expected(rows, finished):
    """The rows of an uninterrupted run."""
    return rows(finished)


def parts(out) -> int:
    return len(list(out.glob("part-*.parquet")))


@pytest.mark.parametrize(
    "kills", [4, pytest.param(60, marks=pytest.mark.scale)], ids=["short", "long"]
)
def test_killed_and_resumed_run_has_the_same_rows(
    start_bulk, bulk, rows, folder, expected, tmp_path, kills
):
    """A run that is faster than the kill is checked, and the next one begins anew."""
    out = tmp_path / "out"
    killed = 0
    for number in range(kills):
        process = start_bulk(folder, "--jobs", 2, "--out", out, "--resume", *PART)
        try:
            process.wait(0.35 + 0.8 * number / kills)
        except subprocess.TimeoutExpired:
            killed += 1
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:
            assert rows(out) == expected
            shutil.rmtree(out)
    assert killed > 0
    done = bulk(folder, "--out", out, *PART, "--resume")
    assert done.returncode == 0, done.stderr
    assert rows(out) == expected
    assert not [name for name in os.listdir(out) if name.startswith(".part")]


def test_run_killed_after_each_part_has_the_same_rows(
    start_bulk, bulk, rows, folder, expected, tmp_path
):
    """The parts appear whole: whichever exist, the others are added."""
    for wanted in (1,):
        out = tmp_path / f"{wanted}"
        process = start_bulk(folder, "--out", out, *PART, "--jobs", 1)
        while parts(out) < wanted and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        process.communicate()
        assert bulk(folder, "--out", out, *PART, "--resume").returncode == 0
        assert rows(out) == expected


@pytest.mark.parametrize("size", ["1k", "16k", "40k", "70k"])
def test_full_disk_is_an_error_and_the_run_is_resumed(bulk, rows, folder, expected, tmp_path, size):
    """The output is on a tmpfs that is too small, and is then copied to a larger disk."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare: apt install util-linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size={size} none {disk}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs in a user namespace: run as root")
    script = f'{mount} && "$@"; status=$?; cp -r {disk} {tmp_path}/copy; exit $status'
    prefix = ("unshare", "-rm", "sh", "-c", script, "sh")
    done = bulk(folder, "--out", disk / "out", *PART, prefix=prefix)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot write "), done.stderr
    assert done.stderr.count("\n") == 1
    assert bulk(folder, "--out", tmp_path / "copy/out", *PART, "--resume").returncode == 0
    assert rows(tmp_path / "copy/out") == expected


def test_ctrl_c_ends_with_130_and_names_the_command_that_continues(
    start_bulk, bulk, rows, folder, expected, tmp_path
):
    # A part for each image, so that hundreds are still to be written when the signal arrives. If a
    # run ends before it arrives nevertheless, another one is interrupted.
    each = ("--part-rows", 1)
    for attempt in range(5):
        out = tmp_path / f"out{attempt}"
        process = start_bulk(
            folder,
            "--out",
            out,
            *each,
            # The tests may run in the background of a script, where Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        while not parts(out):
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
        if process.returncode != 0:
            break
    assert (process.returncode, stdout) == (130, "")
    assert stderr == (
        f"interrupted; continue with: digit-edge bulk {folder} --out {out} --part-rows 1 --resume\n"
    )
    assert bulk(folder, "--out", out, *each, "--resume").returncode == 0
    assert rows(out) == expected


def test_file_that_vanishes_before_the_resume_is_a_row_with_an_error(
    bulk, rows, folder, expected, tmp_path
):
    images = tmp_path / "images"
    shutil.copytree(folder, images)
    out = tmp_path / "out"
    assert bulk("images", "--out", out, *PART, cwd=tmp_path).returncode == 0
    first = next(out.glob("part-*-0000003.parquet"))
    row = rows(first)[0]
    first.unlink()
    (tmp_path / row["path"]).unlink()
    (images / "new.png").write_bytes(b"a file that was added later is not in the listing")
    done = bulk("images", "--out", out, *PART, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "282 of 302 images were done before" in done.stderr
    after = rows(out)
    assert len(after) == len(expected)
    changed = [new for new in after if new["path"] == row["path"]]
    assert "no such file" in changed[0]["error"]


def test_rows_of_a_parquet_file_that_shrank_have_errors(bulk, rows, huggingface, tmp_path):
    path = huggingface(count=50)
    out = tmp_path / "out"
    assert bulk(path, "--out", out, *PART).returncode == 0
    next(out.glob("part-*-0000002.parquet")).unlink()
    huggingface(count=45)
    assert bulk(path, "--out", out, *PART, "--resume").returncode == 0
    errors = [row["error"] for row in rows(out) if row["row"] >= 40]
    assert len(errors) == 10
    assert all("has 45 rows now" in error for error in errors)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--read",), "--read was not passed, is passed"),
        (("--part-rows", "30"), "--part-rows was 20, is 30"),
        (("--shard", "1/2"), "--shard was 1, is 2"),
        (("--column", "image"), "--column was not passed, is image"),
        (("--backend", "onnxruntime"), "--backend was litert, is onnxruntime"),
        (("--model", "OTHER"), "--model was "),
    ],
)
def test_resume_with_another_option_is_refused_by_name(
    bulk, rows, folder, finished, expected, tmp_path, change, named, plant
):
    shutil.copytree(finished, tmp_path / "out")
    if change[-1] == "OTHER":
        change = (change[0], plant(tmp_path / "other.tflite", labels=tuple("abcdefghij")))
    done = bulk(folder, "--out", tmp_path / "out", *PART, "--resume", *change)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {tmp_path}/out was begun with other options (")
    assert named in done.stderr
    assert rows(tmp_path / "out") == expected


def test_resume_with_another_source_or_a_changed_list_is_refused(bulk, folder, tmp_path):
    (tmp_path / "list").write_text(f"{folder}/0/000.png\n")
    assert bulk(tmp_path / "list", "--out", tmp_path / "out").returncode == 0
    (tmp_path / "list").write_text(f"{folder}/0/000.png\n{folder}/0/003.png\n")
    done = bulk(tmp_path / "list", "--out", tmp_path / "out", "--resume")
    assert done.returncode == 2
    assert "the content of the list SOURCE was " in done.stderr
    done = bulk(folder, "--out", tmp_path / "out", "--resume")
    assert f"SOURCE was {tmp_path}/list, is {folder}" in done.stderr


def test_relative_source_is_resumed_in_its_folder_only(bulk, folder, tmp_path):
    assert bulk("0", "--out", tmp_path / "out", cwd=folder).returncode == 0
    (tmp_path / "0").mkdir()
    done = bulk("0", "--out", tmp_path / "out", "--resume", cwd=tmp_path)
    assert done.returncode == 2
    assert f"the working directory, to which SOURCE is relative, was {folder}" in done.stderr


def test_second_run_without_resume_is_refused(bulk, folder, finished):
    done = bulk(folder, "--out", finished, *PART)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {finished} has results of an earlier run: pass --resume to continue it, or "
        "choose another folder with --out\n"
    )
    done = bulk(folder, "--out", finished, *PART, "--resume")
    assert (done.returncode, done.stderr) == (0, "302 of 302 images were done before\n")


def test_folder_with_other_files_is_refused(bulk, folder, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    done = bulk(folder, "--out", tmp_path)
    assert done.returncode == 2
    assert "has other files (thesis.tex)" in done.stderr
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_out_that_is_a_file_is_refused(bulk, folder, tmp_path):
    (tmp_path / "file").write_text("")
    done = bulk(folder, "--out", tmp_path / "file")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("content", [b"{", b"[]", b"", b"\xff"])
def test_damaged_manifest_is_an_error(bulk, folder, finished, tmp_path, content):
    shutil.copytree(finished, tmp_path / "out")
    (tmp_path / "out/_bulk/manifest.json").write_bytes(content)
    done = bulk(folder, "--out", tmp_path / "out", *PART, "--resume")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}/out/_bulk/manifest.json")
    assert done.stderr.count("\n") == 1


def test_two_processes_on_one_shard_are_refused(start_bulk, bulk, rows, folder, expected, tmp_path):
    out = tmp_path / "out"
    first = start_bulk(folder, "--out", out, *PART)
    try:
        while not (out / "_bulk/00001-of-00001.json").exists():
            time.sleep(0.005)
        first.send_signal(signal.SIGSTOP)
        second = bulk(folder, "--out", out, *PART, "--resume")
        assert second.returncode == 2
        assert second.stderr == (
            f"error: another process is writing shard 1/1 of {out}: wait until it ends, or pass "
            "another --shard\n"
        )
    finally:
        first.send_signal(signal.SIGCONT)
        first.communicate()
    assert first.returncode == 0
    assert rows(out) == expected


def test_shards_that_start_together_agree_on_one_manifest(start_bulk, rows, folder, tmp_path):
    out = tmp_path / "out"
    processes = [
        start_bulk(folder, "--out", out, "--shard", f"{n}/4", "--jobs", 1) for n in (1, 2, 3, 4)
    ]
    for process in processes:
        _, stderr = process.communicate(timeout=120)
        assert (process.returncode, stderr) == (0, "")
    assert len(rows(out)) == 302
    assert json.loads((out / "_bulk/manifest.json").read_text())["shards"] == 4
    assert sorted(name for name in os.listdir(out / "_bulk") if "manifest" in name) == [
        "manifest.json"
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc of Linux")
def test_reading_the_output_starts_no_thread(finished):
    """A thread of pyarrow that frees a Python file while Python ends aborts the process."""
    script = f"""
import os
from runtime.bulk.output import Output
from runtime.bulk.sources import Shard
output, shard = Output({str(finished)!r}), Shard(1, 1)
listing = output.listing(shard)
before = len(os.listdir("/proc/self/task"))
assert output.totals(None).rows == sum(len(entries) for _, entries in listing.parts(set()))
assert listing.sizes(set())
print(len(os.listdir("/proc/self/task")) - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "0\n"


def test_damaged_part_is_named_and_can_be_deleted(bulk, rows, folder, finished, expected, tmp_path):
    shutil.copytree(finished, tmp_path / "out")
    part = next((tmp_path / "out").glob("part-*-0000004.parquet"))
    part.write_bytes(b"junk")
    done = bulk(folder, "--out", tmp_path / "out", *PART, "--resume")
    assert done.returncode == 2
    assert f"{part}: cannot be read; if it is damaged, delete it" in done.stderr
    part.unlink()
    assert bulk(folder, "--out", tmp_path / "out", *PART, "--resume").returncode == 0
    assert rows(tmp_path / "out") == expected
