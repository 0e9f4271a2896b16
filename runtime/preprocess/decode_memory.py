"""Estimates the memory that decoding takes, and how far a decoder can scale down."""

from typing import Any

from PIL import Image

from runtime.preprocess.decode_cost import (
    buffers_coefficients,
    is_lossless_webp,
    png_metadata_bytes,
)

# Tags of TIFF.
_ROWS_PER_STRIP, _TILE_LENGTH = 278, 323
_ORIENTATION_TAG = 274
# Pillow keeps a pointer to each row. A decoder holds two rows, and a copy of one is converted.
_ROW_BYTES = 8
_LARGE_BYTES = 100_000_000  # from here on the reduced copies of a picture count too
_LOOKS_SHARE = 1.3125  # a picture and its reduced copies, in parts of the picture


def reduction(image: Image.Image, longest: int) -> int:
    """How many times smaller the file's own decoder is to make it.

    That of a JPEG can leave out the fine detail: a half, a quarter or an eighth of the size.
    """
    if image.format not in ("JPEG", "MPO"):
        return 1
    return reduction_of(image.size, longest)


def reduction_of(size: tuple[int, int], longest: int) -> int:
    """Return how many times smaller a JPEG of this size is decoded."""
    return next((s for s in (8, 4, 2) if max(size) >= s * longest * 0.65), 1)


def memory_bytes(image: Image.Image, longest: int = 4096, color: bool = True) -> int:
    """What Pillow and its decoder hold of a file that it has opened and not yet loaded, about.

    For a picture of at most `longest`, as `decode` makes it; by default the closest look that is
    taken. Measured on Pillow 13.
    """
    own: Any = image  # whose attributes beyond Image's are those of its format's class
    width, height = image.size
    scale = reduction(image, longest)
    pixels = -(-width // scale) * -(-height // scale)
    if image.mode in ("1", "L", "P") or (
        image.format in ("JPEG", "MPO") and image.mode == "RGB" and not color
    ):
        held = pixels
    elif image.mode in ("I", "F"):
        held = 5 * pixels  # and what they are scaled to
    else:
        held = pixels * (3 if image.mode.startswith("I;16") else 4)
    held += _ROW_BYTES * -(-height // scale) + 3 * held // -(-height // scale)
    looked_at = int(held * _LOOKS_SHARE) if held > _LARGE_BYTES else held
    if image.format in ("JPEG", "MPO") and buffers_coefficients(own.fp):
        # Until the last scan libjpeg holds all coefficients, of the whole size, 2 bytes each.
        layers = [(across, down) for _, across, down, _ in own.layer]
        most = max(across for across, _ in layers) * max(down for _, down in layers)
        held += 2 * width * height * sum(across * down for across, down in layers) // most
    elif image.format == "WEBP":
        held *= 4  # two canvases, and all of it as bytes
        held += own.fp.seek(0, 2)  # the decoder's copy of the file
        if is_lossless_webp(own.fp):
            held += 4 * width * height  # the frame, before it is drawn on a canvas
    elif image.format == "TIFF":
        tags = own.tag_v2
        if tags.get(_ORIENTATION_TAG, 1) != 1:
            held = 2 * held + _ROW_BYTES * width  # a second picture, upright
        elif own.tile[0][0] == "libtiff":
            # A strip or a row of tiles is unpacked at a time; a strip may be the whole.
            rows = min(tags.get(_TILE_LENGTH, tags.get(_ROWS_PER_STRIP, height)), height)
            held += held * rows // height
    return max(held, looked_at) + _metadata_bytes(own)


def _metadata_bytes(opened: Any) -> int:
    """Return how much text, profiles and the like Pillow holds of an opened file."""
    if opened.format == "PNG":
        return png_metadata_bytes(opened.fp)
    if opened.format in ("JPEG", "MPO"):
        return 2 * sum(len(payload) for _, payload in opened.applist)
    if opened.format == "TIFF":
        return 2 * sum(map(len, opened.tag.tagdata.values()))
    return 0
