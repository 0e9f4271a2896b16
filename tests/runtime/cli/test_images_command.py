"""The paths and options that digit-edge classify and digit-edge read share."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from runtime.cli import inputs
from runtime.cli.formats import _cell

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").iterdir())
MODULES = {"classify": "runtime", "read": "runtime.read"}
WAIT_S = 60


@pytest.fixture(params=MODULES)
def run(request, tmp_path):
    """Run one of the two commands in an empty folder: `run(*arguments, input=bytes)`."""

    def run(*arguments, **options):
        command = [sys.executable, "-m", MODULES[request.param], *map(str, arguments)]
        options = {"input": b"", **options}
        done = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=WAIT_S, **options)
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        return done

    return run


def encoded(path: Path, kind: str) -> bytes:
    file = io.BytesIO()
    with Image.open(path) as image:
        image.convert("L").save(file, kind)
    return file.getvalue()


@pytest.fixture
def two_digits(tmp_path):
    """A folder with a 7 and a 5."""
    (tmp_path / "in" / "below").mkdir(parents=True)
    os.link(EXAMPLES[0], tmp_path / "in" / "7.jpg")
    os.link(EXAMPLES[1], tmp_path / "in" / "below" / "5.png")
    return tmp_path / "in"


def test_every_file_in_examples_is_an_image(run):
    """As with `digit-edge classify examples/*`, which the shell expands."""
    done = run(*EXAMPLES)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(EXAMPLES) == 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_image_on_standard_input_is_read(run, kind):
    done = run("-", input=encoded(EXAMPLES[2], kind))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("-: 3")


def test_image_on_standard_input_is_named_minus_in_json_and_errors(run):
    data = EXAMPLES[0].read_bytes()
    assert json.loads(run("-", "--json", input=data).stdout)["image"] == "-"
    done = run("-", input=data[:3000])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: -: damaged image")
    assert done.stderr.count("\n") == 1


def test_image_on_standard_input_is_drawn(run, tmp_path):
    done = run("-", "--show", "out.png", input=EXAMPLES[0].read_bytes())
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize("data", [b"\0\0\0\x18ftypheic", b"a.png\0b.png\0", b"a.png\nb\0.png\n"])
def test_other_binary_data_on_standard_input_is_one_error(run, data):
    """Another kind of file, or paths that end with NUL without -0."""
    done = run("-", input=data * 100)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "a.png" not in line]
    (line,) = lines
    assert line.startswith("error: standard input is neither an image")
    assert "-0" in line


def test_names_that_start_like_images_are_paths(run, tmp_path):
    names = ["BM.jpg", "GIF8.jpg", "RIFF", "P5", "MM"]
    for name in names:
        os.link(EXAMPLES[0], tmp_path / name)
    done = run("-", input="\n".join(names).encode())
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == names


def test_image_that_arrives_in_pieces_is_read():
    data = EXAMPLES[1].read_bytes()
    reader, writer = os.pipe()
    program = (
        "from runtime.cli import inputs\n"
        "(image,) = inputs.find(['-'])\n"
        "print(image.image, len(image.data))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=reader, stdout=subprocess.PIPE, text=True
    ) as process:
        os.close(reader)
        for start in range(0, 64, 3):
            os.write(writer, data[start : start + 3])
        os.write(writer, data[66:])
        os.close(writer)
        assert process.stdout.read() == f"- {len(data)}\n"


def test_closed_standard_input_is_an_error(run):
    done = run("-", input=None, preexec_fn=lambda: os.close(0))
    assert (done.returncode, done.stdout) == (2, "")
    assert "standard input" in done.stderr
    assert done.stderr.count("\n") == 1


def test_folder_and_pattern_are_expanded(run, two_digits):
    for path in ("in", "in/**/*.*"):
        done = run(path)
        assert (done.returncode, done.stderr) == (0, "")
        shown = sorted(line.split()[:2] for line in done.stdout.splitlines())
        assert shown == [["in/7.jpg:", "7"], ["in/below/5.png:", "5"]]


def test_names_on_standard_input_are_read(run, two_digits):
    done = run("-0", "-", input=b"in/below/5.png\0in/7.jpg\0")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["5", "7"]


def test_csv_has_a_row_for_an_unreadable_image(run, two_digits):
    (two_digits / "0.png").write_bytes(b"no image")
    done = run("in", "--csv")
    assert (done.returncode, done.stderr) == (2, "")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["image"] for row in rows] == ["in/0.png", "in/7.jpg", "in/below/5.png"]
    assert [bool(row["error"]) for row in rows] == [True, False, False]
    assert [row.get("label", row.get("text")) for row in rows] == ["", "7", "5"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_many_images_are_read_in_order_with_any_number_of_jobs(run, tmp_path, jobs):
    for number in range(30):
        os.link(EXAMPLES[number % 3], tmp_path / f"{number:02}.png")
    done = run(".", "--json", "--jobs", jobs)
    assert (done.returncode, done.stderr) == (0, "")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record.get("text", record.get("label")) for record in records] == ["7", "5", "3"] * 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in", "--show", "x.png"], "error: --show takes one image, not in/7.jpg, in/below/5.png"),
        (["in/7.jpg", "in/7.jpg", "--show", "x.png"], "--show takes one image"),
        (["in", "--csv", "--json"], "not allowed with"),
        (["in", "--jobs", "0"], "--jobs takes 1 or more"),
        (["in", "-0"], "error: --null applies to paths on standard input"),
        (["-", "--show", "x.png"], "error: --show takes one image, standard input has none"),
    ],
)
@pytest.mark.usefixtures("two_digits")
def test_bad_usage_is_an_error_and_writes_nothing(run, tmp_path, arguments, message):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "x.png").exists()


def test_csv_of_read_has_a_row_for_each_line_of_digits(tmp_path):
    blank, page = Image.new("L", (300, 200), 255), Image.new("L", (600, 700), 255)
    blank.save(tmp_path / "blank.png")
    with Image.open(EXAMPLES[2]) as screen:
        digit = Image.eval(screen.convert("L").resize((200, 200)), lambda level: 255 - level)
    for corner in ((50, 80), (300, 80), (50, 420)):
        page.paste(digit, corner)
    page.save(tmp_path / "page.png")
    done = subprocess.run(
        [sys.executable, "-m", "runtime.read", "--csv", "blank.png", "page.png"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "image,line,text,error",
        "blank.png,,,",
        "page.png,1,33,",
        "page.png,2,3,",
    ]


def test_a_list_of_paths_is_not_an_image():
    for head in (b"", b"a.png\n", b"BMW.png\nb.png\n", b"P5\n", b"P5.pgm 3 4.png\n"):
        assert not inputs.is_image_data(head)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1.png", "'=1+1.png"),
        ("+a.png", "'+a.png"),
        ("@a.png", "'@a.png"),
        (" =a.png", "' =a.png"),
        ("\uff1da.png", "'\uff1da.png"),
        ("a=b.png", "a=b.png"),
        ("a\n=1.png", "a\\n=1.png"),
        ("\x1b[31m.png", "\\x1b[31m.png"),
        ("\u202egnp.png", "\\u202egnp.png"),
        ("\x85.png", "\\x85.png"),
    ],
)
def test_csv_cell_is_neither_a_formula_nor_a_control_sequence(tmp_path, name, cell):
    (tmp_path / name).write_bytes(encoded(EXAMPLES[0].with_name("scan.png"), "PNG"))
    command = [sys.executable, "-m", "runtime.read", "--csv", name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["image"], row["text"]) == (cell, "5")


def test_signs_and_numbers_are_kept_in_csv():
    assert [_cell(text) for text in ("-", "+", "-5", "+1.5", "7", "-a", "")] == [
        *("-", "+", "-5", "+1.5", "7"),
        "'-a",
        "",
    ]


def test_messages_of_libtiff_do_not_reach_the_terminal(run, tmp_path):
    """A damaged LZW stream makes libtiff print a line for each problem."""
    file = io.BytesIO()
    with Image.open(EXAMPLES[0].with_name("scan.png")) as image:
        image.save(file, "TIFF", compression="tiff_lzw")
    damaged = bytearray(file.getvalue())
    damaged[200:260] = b"\x1b[31m" * 12
    (tmp_path / "a.tif").write_bytes(damaged)
    done = run("a.tif")
    assert "table" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1
