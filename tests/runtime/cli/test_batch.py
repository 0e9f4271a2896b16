"""python -m runtime on many images: where they come from, how they are printed."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest
from PIL import Image

from runtime.cli import inputs
from runtime.cli.batch import BatchJob
from runtime.cli.formats import JsonLines

WAIT_S = 60


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "runtime", *map(str, arguments)]


def run(*arguments, cwd=None, **options):
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=cwd, timeout=WAIT_S, **options
    )


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_folder_is_read_in_order_whatever_the_jobs(folder, jobs):
    path, labels = folder
    done = run(path, "--json", "--jobs", jobs)
    assert (done.returncode, done.stderr) == (2, "")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {os.path.basename(r["image"]): r.get("label") for r in records} == labels
    assert [r["image"] for r in records] == sorted(r["image"] for r in records)
    assert [r["image"][-8:] for r in records if "error" in r] == ["0070.png", "0207.png"]


def test_csv_has_a_header_and_the_errors(folder):
    path, labels = folder
    rows = list(csv.DictReader(io.StringIO(run(path, "--csv", "--top", 2).stdout)))
    assert [row["label"] or None for row in rows] == list(labels.values())
    assert [row["image"][-8:] for row in rows if row["error"]] == ["0070.png", "0207.png"]
    assert list(rows[0]) == [
        *("image", "label", "confidence", "accepted", "label_2", "confidence_2", "error")
    ]
    assert (rows[0]["accepted"], rows[70]["accepted"]) == ("true", "")


def test_the_folders_below_are_read_and_what_is_no_image_is_passed_over(tmp_path, golden):
    data, label = golden[0]
    for name in ("b.png", "sub/a.PNG", "sub/deep/c.jpg", ".hidden.png", ".git/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "linked.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "absent.png")
    done = run(".", cwd=tmp_path)
    assert [line.split(": ") for line in done.stdout.splitlines()] == [
        [os.path.join(".", name), f"{label} {line.split()[-1]}"]
        for name, line in zip(
            ("b.png", "linked.png", "sub/a.PNG", "sub/deep/c.jpg"),
            done.stdout.splitlines(),
            strict=True,
        )
    ]
    assert done.returncode == 0


def test_a_link_that_leads_to_itself_hides_no_image(tmp_path, golden):
    data, label = golden[0]
    (tmp_path / "a.png").write_bytes(data)
    (tmp_path / "loop.png").symlink_to("loop.png")
    done = run(tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith(f"{tmp_path / 'a.png'}: {label} ")
    assert "loop.png" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_folders_may_lie_deep(tmp_path, golden):
    data, label = golden[0]
    below = os.sep.join(["a"] * 1100)
    try:
        for end in range(1, len(below) + 1, 2):
            os.mkdir(tmp_path / below[:end])
        (tmp_path / below / "1.png").write_bytes(data)
        done = run("a", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"{below}{os.sep}1.png: {label} ")
        # What matches patterns may not go as deep.
        assert len(run("**/*.png", cwd=tmp_path).stderr.splitlines()) <= 1
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "a"], check=True)  # pytest could not


def test_what_comes_from_a_pipe_is_read_though_another_image_is_bad(tmp_path, golden):
    data, label = golden[0]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "good.png").write_bytes(data)
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    names = [str(tmp_path / name) for name in ("bad.png", *["good.png"] * 6)]
    job = BatchJob(None, None, 1, "cpu", JsonLines(), 1)
    job.open()
    done = job.do([f"/dev/fd/{reader}", *names])  # as <(cat good.png) of a shell
    os.close(reader)
    records = [json.loads(line) for _, line in done.lines]
    assert [record.get("label") for record in records] == [label, None, *[label] * 6]


def test_a_long_folder_is_in_order_too(tmp_path):
    """Past some thousands of names they are sorted in another way."""
    (tmp_path / "a.png").write_bytes(b"")
    names = [f"{'x' * (number % 7)}{number}.png".encode() for number in range(9000)]
    names += [b"\xff.png", "ä.png".encode(), b"."]
    for name in names[:-1]:
        os.link(tmp_path / "a.png", os.path.join(os.fsencode(tmp_path), name))
    found = [os.fsencode(os.path.basename(path)) for path in inputs.walk(str(tmp_path))]
    assert found == sorted([*names[:-1], b"a.png"])


def test_a_pattern_is_matched_where_the_shell_does_not(tmp_path, golden):
    for name in ("2.png", "10.png", "x/3.png", "[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(golden[0][0])
    seen = [
        [line.split(": ")[0] for line in run(pattern, cwd=tmp_path).stdout.splitlines()]
        for pattern in ("?.png", "*.png", "**/*.png", "[1].png")
    ]
    assert seen == [
        ["2.png"],
        ["10.png", "2.png", "[1].png"],
        ["10.png", "2.png", "[1].png", os.path.join("x", "3.png")],
        ["[1].png"],  # a file of that very name
    ]


@pytest.mark.parametrize("name", ["*.png", "empty"])
def test_what_leads_to_no_image_is_an_error(tmp_path, name):
    (tmp_path / "empty").mkdir()
    done = run(name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {name}: ")
    assert len(done.stderr.splitlines()) == 1
    record = json.loads(run(name, "--json", cwd=tmp_path).stdout)
    assert record["image"] == name
    assert record["error"]


@pytest.mark.parametrize(
    ("options", "given"),
    [
        (["-"], "1.png\n\nodd\nname.png\n2.png"),
        (["-"], "1.png\r\n2.png\r\n"),
        (["-0", "-"], "1.png\0odd\nname.png\0002.png\0"),
        (["2.png", "-", "sub"], "1.png\n"),
    ],
)
def test_standard_input_names_the_images(tmp_path, golden, options, given):
    for name in ("1.png", "2.png", "odd\nname.png", "sub/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(golden[0][0])
    done = run(*options, "--json", cwd=tmp_path, input=given)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    named = [(r["image"], "error" in r) for r in records]
    if "-0" in options:
        assert named == [("1.png", False), ("odd\nname.png", False), ("2.png", False)]
    elif "odd" in given:
        assert named == [("1.png", False), ("odd", True), ("name.png", True), ("2.png", False)]
    elif "sub" in options:
        assert [name for name, _ in named] == ["2.png", "1.png", os.path.join("sub", "3.png")]
    else:
        assert named == [("1.png", False), ("2.png", False)]


def on_terminal(*arguments) -> str:
    """What a command shows on a terminal."""
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        command(*arguments), stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True
    )
    os.close(terminal)
    shown = b""
    try:
        while data := os.read(screen, 4096):
            shown += data
    except OSError:  # how Linux says that the other side has closed
        pass
    os.close(screen)
    process.wait(WAIT_S)
    return shown.decode().replace("\r\n", "\n")


def lines_left(shown: str) -> list[str]:
    """What stays on the screen: without what is drawn and taken away again."""
    return [line.split("\x1b[K")[-1] for line in shown.split("\n")]


def test_on_a_terminal_several_images_are_a_table(folder):
    path, labels = folder
    names = [str(path / name) for name in ("0000.png", "0070.png", "0001.png")]
    shown = on_terminal(*names)
    assert shown.count("\n") == 4, shown
    header, first, error, second, end = lines_left(shown)
    assert header == "digit  confidence  image"
    assert first.split()[0] == labels["0000.png"]
    assert first.endswith(names[0])
    assert error.startswith(f"error: {names[1]}: ")
    assert second.split()[0] == labels["0001.png"]
    assert second.endswith(names[2])
    assert end == ""
    (line, _) = lines_left(on_terminal(names[0]))
    assert line.startswith(f"{names[0]}: {labels['0000.png']} ")


def test_long_work_says_how_far_it_is_on_a_terminal(folder, tmp_path):
    path, _ = folder
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def feed() -> None:
        while True:  # an image may be looked at again, and be left again
            # Open once the command has come to this image.
            with suppress(BrokenPipeError), pipe.open("wb") as writer:
                time.sleep(1.1)
                writer.write((path / "0000.png").read_bytes())

    threading.Thread(target=feed, daemon=True).start()
    shown = on_terminal("--jobs", 1, path, pipe, path)
    assert " of 601  " in shown
    assert "/s  0:" in shown
    # Nothing of it is left among the results.
    lines = lines_left(shown)
    assert lines[0] == "digit  confidence  image"
    assert len([line for line in lines if line.endswith((".png", "pipe"))]) == 597
    assert len([line for line in lines if line.startswith("error: ")]) == 4
    assert len(lines) == 603
    assert lines[-1] == ""


def test_a_names_control_characters_do_not_reach_the_terminal(tmp_path, golden):
    (tmp_path / "a\x1b[31m\nb.png").write_bytes(golden[0][0])
    done = run(tmp_path)
    assert done.stdout.startswith(f"{tmp_path}/a\\x1b[31m\\nb.png: ")
    assert done.stdout.count("\n") == 1


def test_show_draws_how_an_image_was_seen(folder, tmp_path):
    path, labels = folder
    out = tmp_path / "seen.png"
    done = run(path / "0000.png", "--show", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{path / '0000.png'}: {labels['0000.png']} ")
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert picture.width > 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0000.png", "0001.png", "--show", "x.png"], "--show takes one image"),
        (["--show", "x.png", "."], "error: --show takes one image"),
        (["0070.png", "--show", "x.png"], "error: 0070.png: not an image"),
        (["0000.png", "--show", "0001.png/x.png"], "error: cannot write 0001.png/x.png"),
        (["0000.png", "--jobs", "0"], "--jobs takes 1 or more"),
        (["0000.png", "--csv", "--json"], "not allowed with"),
    ],
)
def test_bad_usage_is_refused(folder, arguments, message):
    done = run(*arguments, cwd=folder[0])
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (folder[0] / "x.png").exists()
