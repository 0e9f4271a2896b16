"""Makes training images of one's own handwriting from photographs of pages, for own_digits.ipynb.

A page contains digits of one class only, and the name of its file begins with the class: 7.jpg,
7-anna.jpg and 7-2.png are pages of sevens. So a photograph of twelve digits needs one label.
"""

import atexit
import io
import json
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps

from runtime import Classifier
from runtime.errors import EdgeError
from runtime.preprocess.pipeline import to_pixels
from runtime.system import atomic_write
from runtime.system.own_modules import module_command, own_name
from train.data.load import sklearn_digits

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")  # of photographs; others are not read
DIGITS_PER_PAGE = 12  # of a drawn page

_COLUMNS = 3  # places for digits in a row of a drawn page
_ROWS = 4  # of such places
_CELL_PX = 260  # side of such a place
_DIGIT_PX = 150  # side of a drawn digit with its margin
_JITTER_PX = 25  # a digit is moved by up to this many pixels
_TIMEOUT_S = 30  # until the page must have read a digit
_MARGIN_SHARE = 0.12  # of a digit's longer side that is cut out around it
_MIN_SIDE_SHARE = 0.4  # of the median height of a page's digits; lower marks are not digits


@dataclass(frozen=True)
class Page:
    """The digits of one photograph.

    Attributes:
        path: the photograph.
        label: the class of all its digits, from the name of the file.
        pixels: the digits in MNIST's form, uint8 (N, 28, 28, 1), in the order of reading.
        boxes: left, top, right, bottom of each digit in pixels of the upright photograph.
    """

    path: Path
    label: str
    pixels: npt.NDArray[np.uint8]
    boxes: tuple[tuple[int, int, int, int], ...]


def read_pages(folder: Path) -> list[Page]:
    """Cut the digits out of all photographs in a folder.

    Raises:
        EdgeError: the folder has no photographs, or the name of one does not begin with a digit.
        ImageError: a photograph cannot be read.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise EdgeError(
            f"{folder} has no photographs: put pages such as 7.jpg into it "
            f"({', '.join(IMAGE_SUFFIXES)})"
        )
    classifier = Classifier.load()
    return [_read_page(path, classifier) for path in paths]


def _read_page(path: Path, classifier: Classifier) -> Page:
    label = path.stem.partition("-")[0]
    if label not in classifier.spec.labels:
        raise EdgeError(
            f"{path}: the name begins with {label!r}; begin it with the digit, as 7.jpg"
        )
    boxes = [digit.box for digit in classifier.read(path).digits]
    heights = [bottom - top for _, top, _, bottom in boxes]
    boxes = [
        box
        for box, height in zip(boxes, heights, strict=True)
        if height >= _MIN_SIDE_SHARE * np.median(heights)
    ]
    if not boxes:
        raise EdgeError(f"{path}: no digits found; write them larger, apart, with a dark pen")
    with Image.open(path) as opened:
        photograph = ImageOps.exif_transpose(opened).convert("RGB")
    pixels = [to_pixels(_cut(photograph, box)) for box in boxes]
    return Page(path, label, np.stack(pixels), tuple(boxes))


def _cut(photograph: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    left, top, right, bottom = box
    margin = round(_MARGIN_SHARE * max(right - left, bottom - top))
    return photograph.crop(
        (
            max(left - margin, 0),
            max(top - margin, 0),
            min(right + margin, photograph.width),
            min(bottom + margin, photograph.height),
        )
    )


def save_digits(
    pages: Sequence[Page], wrong: Mapping[str, Sequence[int]], folder: Path
) -> dict[str, int]:
    """Write each digit into a subfolder named like its class, as `digit-edge train` reads them.

    Args:
        pages: from `read_pages`.
        wrong: name of a photograph → numbers of its cut-outs to leave out, from 0.
        folder: the folder of the subfolders; digits of an earlier call are removed from it.

    Returns:
        Class → number of its digits.

    Raises:
        EdgeError: `wrong` names a photograph that does not exist, or the folder cannot be written.
    """
    names = {page.path.name for page in pages}
    unknown = sorted(set(wrong) - names)
    if unknown:
        raise EdgeError(
            f"no photograph is called {unknown[0]}: there are {', '.join(sorted(names))}"
        )
    for earlier in folder.glob("*/cut-*.png"):
        earlier.unlink()
    counts: dict[str, int] = {}
    for page in pages:
        left_out = set(wrong.get(page.path.name, ()))
        (folder / page.label).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(page.pixels):
            if number in left_out:
                continue
            path = folder / page.label / f"cut-{page.path.stem}-{number:02}.png"
            with atomic_write.atomic_file(path) as temporary:
                Image.fromarray(image[:, :, 0]).save(temporary, "PNG")
            counts[page.label] = counts.get(page.label, 0) + 1
    return counts


def draw_stand_ins(folder: Path, seed: int = 0) -> None:
    """Draw a page for each digit as if it had been photographed: real digits, drawn paper.

    The digits are scikit-learn's, written by 43 people on forms.

    Args:
        folder: the folder to write 0.jpg to 9.jpg into.
        seed: seed of the choice of digits, and of light and noise.
    """
    data = sklearn_digits().train
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for label in range(10):
        members = np.flatnonzero(data.labels == label)
        chosen = rng.choice(members, DIGITS_PER_PAGE, replace=False)
        page = _draw_page(data.pixels[chosen, :, :, 0], rng)
        with atomic_write.atomic_file(folder / f"{label}.jpg") as temporary:
            page.save(temporary, "JPEG", quality=85)


def _draw_page(digits: npt.NDArray[np.uint8], rng: np.random.Generator) -> Image.Image:
    """Draw digits, (N, 28, 28), in rows on paper with uneven light and noise."""
    width, height = _COLUMNS * _CELL_PX, _ROWS * _CELL_PX
    ink = Image.new("L", (width, height))
    for place, pixels in enumerate(digits):
        row, column = divmod(place, _COLUMNS)
        digit = Image.fromarray(pixels).resize((_DIGIT_PX, _DIGIT_PX), Image.Resampling.BICUBIC)
        digit = digit.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC)
        free = (_CELL_PX - _DIGIT_PX) // 2
        x, y = (free + rng.integers(-_JITTER_PX, _JITTER_PX + 1, 2)).tolist()
        ink.paste(digit, (column * _CELL_PX + x, row * _CELL_PX + y))
    share = np.asarray(ink.filter(ImageFilter.GaussianBlur(1)), np.float32)[..., np.newaxis] / 255
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    light = 215 - rng.uniform(20, 70) * x / width - rng.uniform(20, 50) * y / height
    paper = light[..., np.newaxis] * np.array((1, 0.98, 0.92), np.float32)
    pen = np.array((40, 46, 90), np.float32)
    photograph = paper * (1 - share) + pen * share + rng.normal(0, 4, paper.shape)
    return Image.fromarray(photograph.clip(0, 255).astype(np.uint8))


class ServedPage:
    """The page of `digit-edge serve` with a model, running until `stop` or the end of the program.

    Args:
        model: a .tflite or .onnx artifact.

    Attributes:
        address: the address for a browser.
    """

    def __init__(self, model: Path) -> None:
        """Start the server.

        Raises:
            EdgeError: the server does not start.
        """
        command = module_command(own_name("runtime.serve"), "--model", str(model), "--port", "0")
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        atexit.register(self.stop)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        address = next((word for word in line.split() if word.startswith("http")), None)
        if address is None:
            self.stop()
            raise EdgeError(f"the page does not start: {line.strip()}")
        self.address = address

    def read(self, pixels: npt.NDArray[np.uint8]) -> str:
        """Send one digit, uint8 (28, 28, 1), as a picture; return the label, "?" if rejected."""
        picture = io.BytesIO()
        Image.fromarray(pixels[:, :, 0]).save(picture, "PNG")
        request = urllib.request.Request(
            f"{self.address}v1/classify", picture.getvalue(), {"Content-Type": "image/png"}
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            answer = json.load(response)
        return str(answer["label"]) if answer["accepted"] else "?"

    def stop(self) -> None:
        """Stop the server; a second call does nothing."""
        atexit.unregister(self.stop)
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
