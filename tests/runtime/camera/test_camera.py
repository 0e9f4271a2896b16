"""digit-edge camera on finite sources (videos, folders), and its error messages."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime import Classifier

WAIT_S = 60  # time limit of a command


def run(*arguments: object, **options) -> tuple[int, list[dict], str]:
    done = subprocess.run(
        [sys.executable, "-m", "runtime.camera", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        **options,
    )
    lines = done.stderr.splitlines(keepends=True)
    # Every command that gets a frame says what it reads.
    errors = "".join(line for line in lines if not line.startswith("reading "))
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], errors


def record_video(path: Path, pictures: list[Image.Image]) -> None:
    """Write an MJPEG video of 10 frames per second."""
    cv2 = pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, pictures[0].size)
    assert writer.isOpened()
    for picture in pictures:
        writer.write(np.asarray(picture)[:, :, ::-1])
    writer.release()


@pytest.fixture
def video(pages, digits, tmp_path) -> Path:
    """A video of three digits: the first appears twice, the second in one frame only."""
    first, second, third = digits[:3]
    shown = [""] * 7 + [first] * 10 + [""] * 8 + [first] * 3 + [second] + [first] * 9 + [third] * 9
    record_video(tmp_path / "v.avi", [pages[label] for label in shown])
    return tmp_path / "v.avi"


def test_video_gives_one_record_per_appearance_of_a_digit(video, digits):
    first, _, third = digits[:3]
    status, records, errors = run("--source", video.name, cwd=video.parent)
    assert (status, errors) == (0, "")
    assert [(r["label"], r["frame"]) for r in records] == [
        (first, 10),  # its fourth frame
        (first, 29),  # second appearance: three frames, a misread one, and the fourth
        (third, 41),
    ]
    assert all(r["accepted"] and r["image"] == "v.avi" and r["agreeing"] == 4 for r in records)
    assert all(0.5 < r["confidence"] <= 1 and r["backend"] == "litert" for r in records)


def test_agree_1_of_1_reports_every_change(video, digits):
    first, second, third = digits[:3]
    _, records, _ = run("--source", video, "--agree", "1/1")
    assert [r["label"] for r in records] == [first, first, second, first, third]


@pytest.fixture
def two_digits(pages, digits, tmp_path) -> tuple[Path, str, str]:
    """A video of 320x240 with a digit in each half, and their labels.

    The digits are squeezed to half of their width; those two with the highest confidence are used.
    """
    classifier = Classifier.load()
    squeezed = {label: classifier.classify(pages[label].resize((160, 240))) for label in digits}
    accepted = [label for label, read in squeezed.items() if read.accepted and read.label == label]
    left, right = sorted(accepted, key=lambda label: squeezed[label].confidence)[-2:]
    both = Image.new("RGB", (320, 240))
    both.paste(pages[left].resize((160, 240)), (0, 0))
    both.paste(pages[right].resize((160, 240)), (160, 0))
    record_video(tmp_path / "v.avi", [both] * 6)
    return tmp_path / "v.avi", left, right


def test_only_the_region_of_interest_is_read(two_digits):
    video, left, right = two_digits
    for roi, label in (("0,0,160,240", left), ("160,0,160,240", right)):
        status, records, _ = run("--source", video, "--roi", roi)
        assert (status, [r["label"] for r in records]) == (0, [label])


def test_region_of_interest_outside_the_frame_is_an_error(two_digits):
    status, records, errors = run("--source", two_digits[0], "--roi", "200,0,160,100")
    assert (status, records) == (2, [])
    assert errors == (
        "error: --roi 200,0,160,100 is not inside the frame of 320x240 pixels: "
        "pass a smaller X,Y,W,H\n"
    )


def test_folder_is_read_and_a_damaged_image_is_skipped(pages, digits, tmp_path):
    label = digits[0]
    for number in range(8):
        pages[label].save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"no picture")
    status, records, errors = run("--source", tmp_path)
    assert (status, [(r["label"], r["frame"]) for r in records]) == (0, [(label, 4)])
    assert errors.startswith("error: ")
    assert "2.png" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "absent.avi"], "error: cannot open absent.avi: No such file"),
        (["--source", "text.avi"], "error: cannot open text.avi: not a video that OpenCV"),
        (["--source", "empty"], "error: empty: the folder has no images; supported are"),
        (["--source", "empty", "--model", "absent.tflite"], "error: cannot read the model"),
        (
            ["--source", "empty", "--preview", "nowhere"],
            "error: --preview nowhere: invalid address",
        ),
        (["--source", "empty", "--preview"], "use a browser instead: --preview :8081"),
        (["--roi", "1,2,3"], "'1,2,3' is not X,Y,W,H"),
        (["--roi", "1,2,0,3"], "'1,2,0,3' is not a region"),
        (["--agree", "3/6"], "'3/6' is not N/M with N greater than half of M"),
        (["--agree", "7/6"], "'7/6' is not N/M"),
        (["--agree", f"{10**20}/{10**20}"], "is not N/M"),
        (["--source", "9" * 20], f"error: cannot open {'9' * 20}: No such file"),
    ],
)
def test_invalid_arguments_give_one_message_and_exit_status_2(tmp_path, arguments, message):
    pytest.importorskip("cv2", reason='needs OpenCV: pip install "digit-edge[vision]"')
    (tmp_path / "text.avi").write_text("no video")
    (tmp_path / "empty").mkdir()
    status, records, errors = run(*arguments, cwd=tmp_path)
    assert (status, records) == (2, [])
    assert message in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_missing_opencv_names_the_extra_to_install(tmp_path):
    script = (
        "import runpy, sys\n"
        "sys.modules['cv2'] = sys.modules['picamera2'] = None\n"
        "sys.argv = ['camera', '--source', sys.argv[1]]\n"
        "runpy.run_module('runtime.camera', run_name='__main__')"
    )
    (tmp_path / "v.avi").write_bytes(b"")
    for source in ("0", "http://127.0.0.1/", str(tmp_path / "v.avi")):
        done = subprocess.run(
            [sys.executable, "-c", script, source], capture_output=True, text=True, timeout=WAIT_S
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: OpenCV is not installed")
        assert 'pip install "digit-edge[vision]"' in done.stderr
        assert done.stderr.count("\n") == 1
