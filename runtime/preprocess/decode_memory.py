"""Estimate the memory that decoding an image takes, before the image is decoded.

`memory_bytes` returns an upper estimate for an opened image. `runtime.preprocess.decode` and
`runtime.serve.images` compare the estimate with their limits and reject larger images. `reduction`
returns the factor by which a JPEG's decoder scales the image down. The estimate is for the
scaled-down image. `runtime.preprocess.decode_cost` estimates the time.
"""

from contextlib import suppress
from typing import Any

from PIL import Image

from runtime.preprocess.decode_cost import (
    buffers_coefficients,
    is_lossless_webp,
    png_metadata_bytes,
)

_ORIENTATION_TAG = 274  # TIFF tag: orientation of the picture, 1 if upright
_ROWS_PER_STRIP_TAG = 278  # TIFF tag: rows of a strip
_TILE_LENGTH_TAG = 323  # TIFF tag: rows of a tile

_ROW_POINTER_BYTES = 8  # size of a pointer; Pillow keeps a pointer to each row of a picture
_BUFFERED_ROWS = 3  # rows in buffers: two in the decoder, one in the conversion
_LARGE_PICTURE_BYTES = 100_000_000  # of larger pictures, the scaled-down copies are counted too
_WITH_COPIES_FACTOR = 1.3125  # (memory of a picture and its scaled-down copies) / (the picture)
# Times the wanted side `longest`. The decoder of a JPEG must not scale the longer side down below
# this; the rest of the scaling is done after decoding.
_MIN_SIDE_FACTOR = 0.65


def reduction(image: Image.Image, longest: int) -> int:
    """Return the factor by which the file's decoder should scale the image down.

    Args:
        image: an image that Pillow has opened and not yet decoded.
        longest: wanted length of the longer side, in pixels.

    Returns:
        1, 2, 4 or 8; always 1 unless the file is a JPEG.
    """
    if image.format not in ("JPEG", "MPO"):
        return 1
    return reduction_of(image.size, longest)


def reduction_of(size: tuple[int, int], longest: int) -> int:
    """Return the factor by which a JPEG's decoder should scale the image down.

    Args:
        size: (width, height) of the JPEG in pixels.
        longest: wanted length of the longer side, in pixels.

    Returns:
        1, 2, 4 or 8.
    """
    return next((s for s in (8, 4, 2) if max(size) >= s * longest * _MIN_SIDE_FACTOR), 1)


def memory_bytes(image: Image.Image, longest: int = 4096, color: bool = True) -> int:
    """Estimate the memory that Pillow and its decoder need for an image.

    The formulas were measured with Pillow 13.

    Args:
        image: an image that Pillow has opened from a file and not yet decoded.
        longest: length of the longer side, in pixels, to which `decode` scales the picture; the
            default is the largest length that the project uses.
        color: whether the image is decoded in color.

    Returns:
        The peak, in bytes.
    """
    opened: Any = image  # an object of a subclass of Image that depends on the file format
    width, height = image.size
    scale = reduction(image, longest)
    pixels = -(-width // scale) * -(-height // scale)
    if image.mode in ("1", "L", "P") or (
        image.format in ("JPEG", "MPO") and image.mode == "RGB" and not color
    ):
        held = pixels
    elif image.mode in ("I", "F"):
        held = 5 * pixels  # 4 bytes a pixel, and a copy that is scaled to 8 bits
    else:
        held = pixels * (3 if image.mode.startswith("I;16") else 4)
    rows = -(-height // scale)
    held += _ROW_POINTER_BYTES * rows + _BUFFERED_ROWS * held // rows
    with_copies = int(held * _WITH_COPIES_FACTOR) if held > _LARGE_PICTURE_BYTES else held
    if image.format in ("JPEG", "MPO") and buffers_coefficients(opened.fp):
        # libjpeg keeps all coefficients of the full-size picture, 2 bytes each.
        layers = [(across, down) for _, across, down, _ in opened.layer]
        most = max(across for across, _ in layers) * max(down for _, down in layers)
        held += 2 * width * height * sum(across * down for across, down in layers) // most
    elif image.format == "WEBP":
        held *= 4  # two canvases, and the picture as bytes
        held += opened.fp.seek(0, 2)  # the decoder's copy of the file
        if is_lossless_webp(opened.fp):
            held += 4 * width * height  # the frame before it is drawn on a canvas
    elif image.format == "TIFF":
        tags = opened.tag_v2
        if tags.get(_ORIENTATION_TAG, 1) != 1:
            held = 2 * held + _ROW_POINTER_BYTES * width  # a second picture, rotated upright
        elif opened.tile[0][0] == "libtiff":
            # One strip or row of tiles is unpacked at a time; a strip may be the whole picture.
            rows = min(tags.get(_TILE_LENGTH_TAG, tags.get(_ROWS_PER_STRIP_TAG, height)), height)
            held += held * rows // height
    return max(held, with_copies) + _metadata_bytes(opened)


def trim_heap() -> None:
    """Return the freed memory inside of glibc's heaps to the system; takes up to 10 ms.

    After an expensive picture, a third of the memory of a long-running process is otherwise freed
    memory between used blocks. With other C libraries the function has no effect.
    """
    import ctypes  # here, because few images need it

    with suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def _metadata_bytes(opened: Any) -> int:
    """Return the memory in bytes of the text, profiles and tags that Pillow keeps of a file.

    Pillow keeps these of a JPEG and a TIFF twice.
    """
    if opened.format == "PNG":
        return png_metadata_bytes(opened.fp)
    if opened.format in ("JPEG", "MPO"):
        return 2 * sum(len(payload) for _, payload in opened.applist)
    if opened.format == "TIFF":
        return 2 * sum(map(len, opened.tag.tagdata.values()))
    return 0
