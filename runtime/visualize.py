"""Draw predictions onto an image: boxes, labels, and the pixels that the network received.

Used by the option `--show` of `digit-edge classify` and `digit-edge read`.
"""

import io
import os

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from runtime.multi_digit.recognize import Recognition
from runtime.prediction import Prediction
from runtime.preprocess.decode import ImageSource, decode_color
from runtime.preprocess.pipeline import NO_POLARITY, PreprocessedImage
from runtime.preprocess.segment import Box
from runtime.system import atomic_write

_MAX_IMAGE_SIDE_PX = 840  # an image with a longer side is reduced to this
# Longer side of the enlarged pixels. An image whose longer side is at most half of this is enlarged
# by the largest whole factor that fits.
_PIXELS_SIDE_PX = 336
_MARGIN_PX = 12  # white space around the image and around the pixels
_LINE_HEIGHT_PX = 22  # distance between two lines of text
_CAPTION_FONT_PX = 17  # font size of the text below the pixels
_LABEL_FONT_PX = 18  # font size of the label above a box
_BOX_LINE_PX = 2  # width of a box's outline
_ACCEPTED_COLOR = (0, 140, 60)  # RGB, green; box and label of an accepted prediction
_REJECTED_COLOR = (200, 30, 30)  # RGB, red; box and label of a rejected prediction


def draw_preprocessed(
    image: ImageSource, preprocessed: PreprocessedImage, prediction: Prediction
) -> Image.Image:
    """Draw the image with the digit's box and, beside it, the pixels that the network received.

    Args:
        image: the classified image.
        preprocessed: `Classifier.classify(image, return_view=True).view`.
        prediction: the prediction for the image.

    Returns:
        An RGB image. The text below the pixels has the prediction and, of `preprocessed`, the
        method, the polarity and the box.

    Raises:
        ImageError: the image cannot be read.
    """
    picture = draw_marks(image, [(preprocessed.box, prediction, "")])
    lines = [
        f"{prediction.label if prediction.accepted else '?'}   "
        f"{'' if prediction.accepted else 'not sure: ' + prediction.label + ' '}"
        f"{prediction.confidence:.1%}",
        f"method: {preprocessed.method}",
        f"ink: {preprocessed.polarity}",
        "box: {}, {} to {}, {}".format(*preprocessed.box),
    ]
    if preprocessed.polarity == NO_POLARITY:
        del lines[2]
    gray_or_rgb = preprocessed.pixels
    pixels = Image.fromarray(gray_or_rgb[:, :, 0] if gray_or_rgb.shape[2] == 1 else gray_or_rgb)
    factor = _PIXELS_SIDE_PX / max(pixels.size)
    enlarged = round(factor * pixels.width), round(factor * pixels.height)
    side, margin, line_height = _PIXELS_SIDE_PX, _MARGIN_PX, _LINE_HEIGHT_PX
    height = max(picture.height, side + len(lines) * line_height + margin) + 2 * margin
    sheet = Image.new("RGB", (picture.width + side + 3 * margin, height), "white")
    sheet.paste(picture, (margin, margin))
    left = picture.width + 2 * margin
    sheet.paste(pixels.resize(enlarged, Image.Resampling.NEAREST), (left, margin))
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        top = side + 2 * margin + number * line_height
        pen.text((left, top), line, fill="black", font=_font(_CAPTION_FONT_PX))
    return sheet


def draw_recognition(image: ImageSource, recognition: Recognition) -> Image.Image:
    """Draw the image with a box and a label at each digit, and a red ? at each rejected symbol.

    Args:
        image: the image that was read.
        recognition: the result of `Classifier.read(image)`; may have no digits.

    Returns:
        An RGB image.

    Raises:
        ImageError: the image cannot be read.
    """
    marks = [
        (digit.box, digit.prediction, digit.prediction.label if digit.prediction.accepted else "?")
        for digit in recognition.digits
    ]
    return draw_marks(image, marks)


def draw_marks(image: ImageSource, marks: list[tuple[Box, Prediction, str]]) -> Image.Image:
    """Draw the image with boxes: green for accepted predictions, red for rejected ones.

    Args:
        image: the classified image.
        marks: (box, prediction, text above the box) of each digit; an empty text is not drawn. A
            box is (left, top, right, bottom) in pixels of the upright image, right and bottom
            exclusive.

    Returns:
        An RGB image, reduced to a side of at most 840 px.

    Raises:
        ImageError: the image cannot be read.
    """
    decoded = decode_color(image, longest=_MAX_IMAGE_SIDE_PX)
    picture = Image.fromarray(np.ascontiguousarray(decoded.rgb))
    scale = max(1, _PIXELS_SIDE_PX // max(picture.size))  # enlarge tiny images
    enlarged = (picture.width * scale, picture.height * scale)
    picture = picture.resize(enlarged, Image.Resampling.NEAREST)
    x, y = picture.width / decoded.size[0], picture.height / decoded.size[1]
    pen = ImageDraw.Draw(picture)
    for (left, top, right, bottom), prediction, text in marks:
        color = _ACCEPTED_COLOR if prediction.accepted else _REJECTED_COLOR
        edges = (left * x, top * y, max(right * x - 1, left * x), max(bottom * y - 1, top * y))
        pen.rectangle(edges, outline=color, width=_BOX_LINE_PX)
        if text:
            corner = (left * x, max(top * y - _LINE_HEIGHT_PX, 0))
            pen.text(corner, text, fill=color, font=_font(_LABEL_FONT_PX))
    return picture


def save(picture: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write an image atomically as PNG, even if `path` has another suffix.

    Raises:
        EdgeError: the file cannot be written.
    """
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    atomic_write.write(path, encoded.getvalue())


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size)
    except TypeError:
        return ImageFont.load_default()  # in Pillow before 10.1 the default font has one size
