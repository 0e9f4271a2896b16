"""digit-edge classify on many images: folders, patterns, standard input, and the output formats."""

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
from runtime.cli.batch import ClassifyJob
from runtime.cli.formats import JsonLines

WAIT_S = 60


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "runtime", *map(str, arguments)]


def run(*arguments, cwd=None, **options):
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=cwd, timeout=WAIT_S, **options
    )


@pytest.mark.parametrize("jobs", [1, 3])
def test_folder_is_read_in_order_with_any_number_of_jobs(folder, jobs):
    path, labels = folder
    done = run(path, "--json", "--jobs", jobs)
    assert (done.returncode, done.stderr) == (2, "")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {os.path.basename(r["image"]): r.get("label") for r in records} == labels
    assert [r["image"] for r in records] == sorted(r["image"] for r in records)
    assert [r["image"][-8:] for r in records if "error" in r] == ["0070.png", "0207.png"]


def test_csv_has_a_header_and_a_row_for_each_error(folder):
    path, labels = folder
    rows = list(csv.DictReader(io.StringIO(run(path, "--csv", "--top", 2).stdout)))
    assert [row["label"] or None for row in rows] == list(labels.values())
    assert [row["image"][-8:] for row in rows if row["error"]] == ["0070.png", "0207.png"]
    assert list(rows[0]) == [
        *("image", "label", "confidence", "accepted", "label_2", "confidence_2", "error")
    ]
    assert (rows[0]["accepted"], rows[70]["accepted"]) == ("true", "")


def test_subfolders_are_read_and_hidden_files_and_other_suffixes_are_skipped(tmp_path, golden):
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


def test_link_to_itself_is_an_error_and_the_other_images_are_read(tmp_path, golden):
    data, label = golden[0]
    (tmp_path / "a.png").write_bytes(data)
    (tmp_path / "loop.png").symlink_to("loop.png")
    done = run(tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith(f"{tmp_path / 'a.png'}: {label} ")
    assert "loop.png" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def deep(tmp_path, golden):
    """The path, relative to tmp_path, of an image in 1,100 nested folders."""
    path = os.sep.join(["a"] * 1100)
    try:
        for end in range(1, len(path) + 1, 2):
            os.mkdir(tmp_path / path[:end])
        (tmp_path / path / "1.png").write_bytes(golden[0][0])
        yield f"{path}{os.sep}1.png"
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "a"], check=True)  # too deep for pytest to remove


def test_deeply_nested_folders_are_read(deep, tmp_path, golden):
    done = run("a", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{deep}: {golden[0][1]} ")


@pytest.mark.usefixtures("deep")
def test_pattern_on_deeply_nested_folders_is_at_most_one_error(tmp_path):
    """Python's glob recurses, so it may give up."""
    assert len(run("**/*.png", cwd=tmp_path).stderr.splitlines()) <= 1


def test_image_from_a_pipe_is_read_although_another_image_is_unreadable(tmp_path, golden):
    """An unreadable image makes the batch be read again, which a pipe does not allow."""
    data, label = golden[0]
    (tmp_path / "bad.png").write_bytes(b"not an image")
    (tmp_path / "good.png").write_bytes(data)
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    names = [str(tmp_path / name) for name in ("bad.png", *["good.png"] * 6)]
    job = ClassifyJob(None, None, 1, "cpu", JsonLines(), 1)
    job.open()
    done = job.do([f"/dev/fd/{reader}", *names])  # like <(cat good.png) in a shell
    os.close(reader)
    records = [json.loads(line.text) for line in done.lines]
    assert [record.get("label") for record in records] == [label, None, *[label] * 6]


def test_folder_with_thousands_of_names_is_sorted(tmp_path):
    """From 4,096 names on they are sorted in NumPy arrays."""
    (tmp_path / "a.png").write_bytes(b"")
    names = [f"{'x' * (number % 7)}{number}.png".encode() for number in range(9000)]
    names += [b"\xff.png", "ä.png".encode()]
    for name in names:
        os.link(tmp_path / "a.png", os.path.join(os.fsencode(tmp_path), name))
    walked = [os.fsencode(os.path.basename(path)) for path in inputs.walk(str(tmp_path))]
    assert walked == sorted([*names, b"a.png"])


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("?.png", ["2.png"]),
        ("*.png", ["10.png", "2.png", "[1].png"]),
        ("**/*.png", ["10.png", "2.png", "[1].png", os.path.join("x", "3.png")]),
        ("[1].png", ["[1].png"]),  # a file of that very name
    ],
)
def test_pattern_is_expanded_by_the_command(tmp_path, golden, pattern, matches):
    for name in ("2.png", "10.png", "x/3.png", "[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(golden[0][0])
    done = run(pattern, cwd=tmp_path)
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == matches


@pytest.mark.parametrize("name", ["*.png", "empty"])
def test_path_without_images_is_an_error(tmp_path, name):
    (tmp_path / "empty").mkdir()
    done = run(name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {name}: ")
    assert len(done.stderr.splitlines()) == 1
    record = json.loads(run(name, "--json", cwd=tmp_path).stdout)
    assert record["image"] == name
    assert record["error"]


@pytest.mark.parametrize(
    ("options", "stdin", "expected"),
    [
        (
            ["-"],
            "1.png\n\nodd\nname.png\n2.png",
            [("1.png", False), ("odd", True), ("name.png", True), ("2.png", False)],
        ),
        (["-"], "1.png\r\n2.png\r\n", [("1.png", False), ("2.png", False)]),
        (
            ["-0", "-"],
            "1.png\0odd\nname.png\0002.png\0",
            [("1.png", False), ("odd\nname.png", False), ("2.png", False)],
        ),
        (
            ["2.png", "-", "sub"],
            "1.png\n",
            [("2.png", False), ("1.png", False), (os.path.join("sub", "3.png"), False)],
        ),
    ],
    ids=["newlines", "CRLF", "NUL", "among other paths"],
)
def test_standard_input_names_the_images(tmp_path, golden, options, stdin, expected):
    """`expected`: (path, whether it is an error)."""
    for name in ("1.png", "2.png", "odd\nname.png", "sub/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(golden[0][0])
    done = run(*options, "--json", cwd=tmp_path, input=stdin)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(record["image"], "error" in record) for record in records] == expected


def on_terminal(*arguments) -> str:
    """Run a command on a pseudo-terminal; return all that it writes."""
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        command(*arguments), stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True
    )
    os.close(terminal)
    written = b""
    with suppress(OSError):  # raised by Linux after the command has closed the terminal
        while data := os.read(screen, 4096):
            written += data
    os.close(screen)
    process.wait(WAIT_S)
    return written.decode().replace("\r\n", "\n")


def final_lines(written: str) -> list[str]:
    """Return the lines that stay on the screen, without the erased progress line."""
    return [line.split("\x1b[K")[-1] for line in written.split("\n")]


def test_several_images_on_a_terminal_are_a_table(folder):
    path, labels = folder
    names = [str(path / name) for name in ("0000.png", "0070.png", "0001.png")]
    written = on_terminal(*names)
    assert written.count("\n") == 4, written
    header, first, error, second, end = final_lines(written)
    assert header == "digit  confidence  image"
    assert first.split()[0] == labels["0000.png"]
    assert first.endswith(names[0])
    assert error.startswith(f"error: {names[1]}: ")
    assert second.split()[0] == labels["0001.png"]
    assert second.endswith(names[2])
    assert end == ""


def test_one_image_on_a_terminal_is_a_plain_line(folder):
    path, labels = folder
    (line, _) = final_lines(on_terminal(path / "0000.png"))
    assert line.startswith(f"{path / '0000.png'}: {labels['0000.png']} ")


def test_progress_line_on_a_terminal_is_erased_from_the_results(folder, tmp_path):
    path, _ = folder
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def feed() -> None:
        while True:  # the command may open the image more than once
            # `open` blocks until the command opens this image.
            with suppress(BrokenPipeError), pipe.open("wb") as writer:
                time.sleep(1.1)
                writer.write((path / "0000.png").read_bytes())

    threading.Thread(target=feed, daemon=True).start()
    written = on_terminal("--jobs", 1, path, pipe, path)
    assert " of 601  " in written
    assert "/s  0:" in written
    lines = final_lines(written)
    assert lines[0] == "digit  confidence  image"
    assert len([line for line in lines if line.endswith((".png", "pipe"))]) == 597
    assert len([line for line in lines if line.startswith("error: ")]) == 4
    assert len(lines) == 603
    assert lines[-1] == ""


def test_control_characters_of_a_name_are_printed_escaped(tmp_path, golden):
    (tmp_path / "a\x1b[31m\nb.png").write_bytes(golden[0][0])
    done = run(tmp_path)
    assert done.stdout.startswith(f"{tmp_path}/a\\x1b[31m\\nb.png: ")
    assert done.stdout.count("\n") == 1


def test_show_writes_a_drawing_of_the_preprocessing(folder, tmp_path):
    path, labels = folder
    out = tmp_path / "drawing.png"
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
def test_bad_usage_is_an_error_and_writes_nothing(folder, arguments, message):
    done = run(*arguments, cwd=folder[0])
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (folder[0] / "x.png").exists()
