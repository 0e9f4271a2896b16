"""Convert a photograph to the pixels of a model: the whole image, stretched to the model's size.

`runtime.preprocess.pipeline` calls `photo_pixels` for models of the form "photo".
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime.preprocess.decode import ImageSource, decode_color

# The image is decoded to this multiple of the model's longer side, so that both sides have enough
# pixels up to this aspect ratio. Resampling then takes the same time for all images.
_DECODED_FACTOR = 4


def photo_pixels(
    image: ImageSource, shape: tuple[int, int, int], name: str | None = None
) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """Return the pixels of a photograph.

    Args:
        image: see `runtime.preprocess.decode.decode`. Transparent images are composited over white.
        shape: height, width and channels of the pixels. One channel is the luminance.
        name: name of the image, for error messages; None uses the path, or a word like `<bytes>`.

    Returns:
        (pixels uint8 of shape `shape`, (width, height) of the upright original). An image of the
        same height and width is not resampled.

    Raises:
        ImageError: the image cannot be decoded.
    """
    height, width, channels = shape
    decoded = decode_color(image, longest=_DECODED_FACTOR * max(height, width), name=name)
    picture = Image.fromarray(np.ascontiguousarray(decoded.rgb))
    if channels == 1:
        picture = picture.convert("L")
    if picture.size != (width, height):
        # Pillow's BILINEAR averages over all pixels of a reduced image.
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(shape), decoded.size
