"""Draws the preprocessing of an image: the ink that was found, and the pixels."""

import io
import os

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from runtime.multi_digit.recognize import Recognition
from runtime.prediction import Prediction
from runtime.preprocess.decode import ImageSource, decode_color
from runtime.preprocess.pipeline import PreprocessedImage
from runtime.preprocess.segment import Box
from runtime.system import atomic_write

# The longest side of the picture and the side of the pixels shown beside it, in pixels.
_PICTURE, _PIXELS = 840, 336
_MARGIN, _LINE = 12, 22
_ACCEPTED, _REFUSED = (0, 140, 60), (200, 30, 30)


def draw_preprocessed(
    image: ImageSource, preprocessed: PreprocessedImage, prediction: Prediction
) -> Image.Image:
    """The original with the digit's box, and beside it the pixels that the network was given.

    Args:
        image: what was classified.
        preprocessed: how it was preprocessed: `Classifier.classify(image, return_view=True).view`.
        prediction: what was made of it.

    Returns:
        An RGB picture; under the pixels stand answer, method, polarity and box.

    Raises:
        ImageError: the image cannot be read.
    """
    picture = draw_marks(image, [(preprocessed.box, prediction, "")])
    lines = (
        f"{prediction.label if prediction.accepted else '?'}   "
        f"{'' if prediction.accepted else 'not sure: ' + prediction.label + ' '}"
        f"{prediction.confidence:.1%}",
        f"method: {preprocessed.method}",
        f"ink: {preprocessed.polarity}",
        "box: {}, {} to {}, {}".format(*preprocessed.box),
    )
    pixels = Image.fromarray(preprocessed.pixels[:, :, 0])
    height = max(picture.height, _PIXELS + len(lines) * _LINE + _MARGIN) + 2 * _MARGIN
    sheet = Image.new("RGB", (picture.width + _PIXELS + 3 * _MARGIN, height), "white")
    sheet.paste(picture, (_MARGIN, _MARGIN))
    left = picture.width + 2 * _MARGIN
    sheet.paste(pixels.resize((_PIXELS, _PIXELS), Image.Resampling.NEAREST), (left, _MARGIN))
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        top = _PIXELS + 2 * _MARGIN + number * _LINE
        pen.text((left, top), line, fill="black", font=_font(_LINE - 5))
    return sheet


def draw_recognition(image: ImageSource, recognition: Recognition) -> Image.Image:
    """The original with a box and a label at each digit, and a red ? at what is none.

    Raises:
        ImageError: the image cannot be read.
    """
    marks = [
        (digit.box, digit.prediction, digit.prediction.label if digit.prediction.accepted else "?")
        for digit in recognition.digits
    ]
    return draw_marks(image, marks)


def draw_marks(image: ImageSource, marks: list[tuple[Box, Prediction, str]]) -> Image.Image:
    """The original with a box around each thing found; green what was accepted, red what was not.

    Args:
        image: what was read.
        marks: for each its (left, top, right, bottom) in pixels of the upright original, what was
            made of it, and what to write at the box.

    Raises:
        ImageError: the image cannot be read.
    """
    decoded = decode_color(image, longest=_PICTURE)
    picture = Image.fromarray(np.ascontiguousarray(decoded.rgb))
    # A tiny picture is enlarged, so that there is something to see.
    scale = max(1, _PIXELS // max(picture.size))
    enlarged = (picture.width * scale, picture.height * scale)
    picture = picture.resize(enlarged, Image.Resampling.NEAREST)
    x, y = picture.width / decoded.size[0], picture.height / decoded.size[1]
    pen = ImageDraw.Draw(picture)
    for (left, top, right, bottom), prediction, text in marks:
        color = _ACCEPTED if prediction.accepted else _REFUSED
        edges = (left * x, top * y, max(right * x - 1, left * x), max(bottom * y - 1, top * y))
        pen.rectangle(edges, outline=color, width=2)
        if text:
            pen.text((left * x, max(top * y - _LINE, 0)), text, fill=color, font=_font(_LINE - 4))
    return picture


def save(picture: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture as PNG, whatever its name ends in, whole or not at all.

    Raises:
        EdgeError: it cannot be written.
    """
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    atomic_write.write(path, encoded.getvalue())


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size)
    except TypeError:
        return ImageFont.load_default()  # Pillow before 10.1 has one size only
