"""Decode images of any kind to upright gray or RGB arrays, within limits of time and memory.

`decode` and `CachedDecoder` return gray images, for `runtime.preprocess.pipeline` and
`runtime.multi_digit`. `decode_color` returns RGB images for display, and `decode_parts` parts of an
image for `runtime.numbers`. All accept paths, bytes, file objects, Pillow images and arrays, in
several modes and bit depths. All undo the EXIF orientation and convert each error of Pillow to an
ImageError with the file's name.
"""

import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from runtime.errors import ImageError
from runtime.preprocess import fast_png
from runtime.preprocess.decode_cost import check_work
from runtime.preprocess.decode_memory import memory_bytes, reduction, reduction_of, trim_heap
from runtime.preprocess.grayscale import (
    Gray,
    downscale,
    first_principal_component,
    luminance,
    to_uint8,
)
from runtime.system.native_output import suppress_native_output

# All kinds of images that can be decoded, see `decode`.
ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | BinaryIO | Image.Image | npt.NDArray[Any]"
)

# An image beyond one of these limits is rejected. A JPEG is decoded at a reduced scale, so the file
# may have more pixels, unless the JPEG is progressive.
MAX_DECODED_PIXELS = 40_000_000  # of the decoded image; an A4 page at 600 dpi has 35 million
MAX_SIDE_PX = 65_535  # of width and height; the largest side of a JPEG
MAX_DECODED_BYTES = 200_000_000  # of memory; such a page takes 140 MB, a 12-megapixel WebP 195 MB

# Before a larger picture is decoded or converted, freed memory is returned to the system.
_TRIM_PIXELS = 4_000_000

# Accepted formats, in the order in which Pillow tries them; files of other formats are rejected.
# These decoders only read pixels (no Ghostscript, no nested documents). The formats that Pillow
# imports by default come first.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
_FORMATS_TEXT = "PNG, JPEG, BMP, GIF, PPM, TIFF or WebP"  # the accepted formats, for messages

# Exceptions of Pillow for damaged files, which are converted to ImageError. Truncated files and
# files with changed bytes raised OSError, SyntaxError and ValueError in tests. Some releases of
# Pillow are known to raise the other exceptions.
_DAMAGE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)

# A JPEG that takes longer to decode, by estimate, is not decoded again at a smaller scale or in
# gray: the present picture is converted. The gray levels then differ a little.
_EXPENSIVE_NS = 150_000_000

_ORIENTATION_TAG = 0x0112  # number of the EXIF tag "orientation"
_MAX_UNTRANSPOSED = 4  # EXIF orientations above this exchange width and height
_UPSIDE_DOWN = (3, 4, 7, 8)  # EXIF orientations whose rows are reversed, after this exchange
_MIRRORED = (2, 3, 6, 7)  # EXIF orientations whose columns are reversed, after this exchange
# Keys of Image.info whose metadata may contain an orientation.
_ORIENTATION_KEYS = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
# If metadata is longer, the orientation is ignored. Cameras write less than 64 kB, which is 128 kB
# as hexadecimal text.
_MAX_EXIF_BYTES = 1 << 17
# Pillow's modes without color; modes that begin with "I;" have no color either.
_GRAY_MODES = ("1", "L", "LA", "La", "I", "F")
_MAX_DETAIL_CHARACTERS = 80  # of Pillow's message in an error message; the rest is cut off

# Estimated memory, in bytes per pixel, of a decoded picture and its copy in another mode. If both
# take more than MAX_DECODED_BYTES, the picture is rejected, unless it is scaled down much.
_WITH_COPY_BYTES_PER_PIXEL = 6
# A picture whose sides are at least this many times as long as wanted is reduced by whole blocks
# while it is copied. The copy is then small.
_BLOCK_REDUCTION_FACTOR = 4


@dataclass(frozen=True)
class Decoded:
    """An upright gray picture.

    Attributes:
        gray: uint8 (height, width); the longer side has at most the requested length.
        size: (width, height) of the upright original, in pixels.
        colored: whether the original has colors; a gray image in an RGB file counts as colored.
    """

    gray: Gray
    size: tuple[int, int]
    colored: bool


@dataclass(frozen=True)
class DecodedColor:
    """An upright color picture.

    Attributes:
        rgb: uint8 (height, width, 3); the longer side has at most the requested length.
        size: (width, height) of the upright original, in pixels.
    """

    rgb: npt.NDArray[np.uint8]
    size: tuple[int, int]


def decode(image: ImageSource, *, longest: int, color: bool = False) -> Decoded:
    """Decode an image to gray.

    Transparent images get a background, see `runtime.preprocess.grayscale.luminance`. Of an
    animation, the first frame is decoded.

    Args:
        image: a path, bytes, a binary file object, a Pillow image, or an array. An array has the
            shape (height, width[, 1, 3 or 4]) and the dtype uint8, uint16, bool, or float with
            values from 0 to 1.
        longest: largest length of the result's longer side, in pixels. A smaller image keeps its
            size.
        color: True returns the first principal component of the colors, False the luminance. An
            image without colors is always returned as luminance.

    Raises:
        ImageError: the image cannot be decoded, or exceeds a limit.
    """
    return CachedDecoder(image).decode(longest=longest, color=color)


class CachedDecoder:
    """An image that can be decoded several times, at different sizes and in color.

    The decoded picture is kept for the next call. Only a JPEG is decoded again, if another scale or
    color is requested. Do not share an object between threads.

    Args:
        image: see `decode`; a file object that is not seekable can be decoded only once.
        name: name of the image, for error messages; None uses the result of `describe`.

    Attributes:
        name: name of the image, for error messages.
        work_ns: estimated time of all decodings until now, in nanoseconds.
    """

    def __init__(self, image: ImageSource, name: str | None = None) -> None:
        self.name = describe(image, name)
        self._image = image
        self._loaded: _Loaded | None = None
        self.work_ns = 0.0

    def decode(self, *, longest: int, color: bool = False) -> Decoded:
        """Decode the image to gray, see the function `decode`.

        Args:
            longest: largest length of the result's longer side, in pixels.
            color: True returns the first principal component of the colors, False the luminance.

        Raises:
            ImageError: the image cannot be decoded, or exceeds a limit.
        """
        plain = None
        if isinstance(self._image, bytes):
            plain = fast_png.decode_plain(self._image)
        elif isinstance(self._image, (str, os.PathLike)):
            plain = fast_png.read_plain(self._image)
        if plain is not None and max(plain.shape) <= longest:
            return Decoded(plain, (plain.shape[1], plain.shape[0]), False)
        loaded = self._load(longest, color)
        with _PillowErrors(self.name):
            image = loaded.image
            self._check_copy(image, longest)
            if image.width * image.height > _TRIM_PIXELS:
                trim_heap()
            use_color = color and loaded.colored
            gray = (first_principal_component if use_color else luminance)(image, longest)
        width, height = loaded.size
        transposed = loaded.orientation > _MAX_UNTRANSPOSED
        size = (height, width) if transposed else (width, height)
        return Decoded(_upright(gray, loaded.orientation), size, loaded.colored)

    def _check_copy(self, image: Image.Image, longest: int) -> None:
        """Raise ImageError if the converted copy of the image would be too large."""
        pixels = image.width * image.height
        converted = image.mode not in ("1", "L", "I", "F", "RGB") and image.mode[:2] != "I;"
        if (
            converted
            and _BLOCK_REDUCTION_FACTOR * longest > max(image.size)
            and _WITH_COPY_BYTES_PER_PIXEL * pixels > MAX_DECODED_BYTES
        ):
            raise ImageError(
                f"{self.name}: {image.width}x{image.height} pixels of mode {image.mode} are too "
                "many for such small digits; save the image in gray, or crop it"
            )

    def release(self, max_pixels: int) -> None:
        """Free the decoded picture if it has more than `max_pixels` pixels.

        The next call of `decode` then decodes the image again.
        """
        if self._loaded is not None:
            width, height = self._loaded.image.size
            if width * height > max_pixels:
                self._loaded = None

    def _load(self, longest: int, color: bool) -> "_Loaded":
        if self._loaded is not None and self._loaded.fits(longest, color):
            return self._loaded
        self._loaded = None
        before_ns = self.work_ns
        with _opened(self._image, self.name, before_ns) as (picture, self.work_ns):
            colored = picture.mode not in _GRAY_MODES and picture.mode[:2] != "I;"
            own = picture is not self._image
            size = _load(picture, longest, color, self.name, own)
            if own and picture.format == "WEBP":
                opened: Any = picture
                opened._decoder = None  # free the decoder and its two canvases
            is_jpeg = own and picture.format in ("JPEG", "MPO")
            draft = (reduction_of(size, longest), color) if is_jpeg else None
            expensive = self.work_ns - before_ns > _EXPENSIVE_NS
            self._loaded = _Loaded(picture, size, _orientation(picture), colored, draft, expensive)
        return self._loaded


@dataclass(frozen=True)
class _Loaded:
    """A decoded picture, not yet rotated upright.

    Attributes:
        image: the picture; a JPEG may be scaled down.
        size: (width, height) of the original as stored, in pixels.
        orientation: EXIF orientation, 1 to 8.
        colored: whether the original has colors.
        draft: for a JPEG, the factor by which the picture is scaled down, and whether the picture
            is in color; None for other formats.
        expensive: whether decoding it again would take long.
    """

    image: Image.Image
    size: tuple[int, int]
    orientation: int
    colored: bool
    draft: tuple[int, bool] | None
    expensive: bool

    def fits(self, longest: int, color: bool) -> bool:
        """Return whether the picture can be used for a request without decoding again.

        Args:
            longest: wanted length of the longer side, in pixels.
            color: whether color is wanted.
        """
        if self.draft is None:
            return True
        scale, in_color = self.draft
        wanted = reduction_of(self.size, longest)
        if self.expensive:
            return scale <= wanted and in_color >= color
        return (scale, in_color) == (wanted, color)


def decode_color(image: ImageSource, *, longest: int) -> DecodedColor:
    """Decode an image to RGB for display; transparent images are composited over white.

    Args:
        image: see `decode`.
        longest: largest length of the result's longer side, in pixels.

    Raises:
        ImageError: the image cannot be decoded, or exceeds a limit.
    """
    name = describe(image)
    with _opened(image, name) as (picture, _):
        width, height = _load(picture, longest, True, name, picture is not image)
        shown = _rgb(picture, longest)
        orientation = _orientation(picture)
    upright = _upright(np.asarray(shown), orientation)
    size = (height, width) if orientation > _MAX_UNTRANSPOSED else (width, height)
    return DecodedColor(upright, size)


def decode_parts(
    image: ImageSource,
    boxes: Callable[[int, int], list[tuple[int, int, int, int]]],
    *,
    longest: int,
    longest_part: int,
) -> list[npt.NDArray[np.uint8]]:
    """Decode parts of an image to RGB; only the parts are converted and copied.

    Args:
        image: see `decode`.
        boxes: returns (left, top, right, bottom) of each part, in pixels, for the width and the
            height of the upright image; right and bottom are exclusive.
        longest: largest length of the image's longer side, in pixels, if it is a JPEG.
        longest_part: largest length of the longer side of each part, in pixels.

    Returns:
        For each part, uint8 (height, width, 3).

    Raises:
        ImageError: the image cannot be decoded, or exceeds a limit.
    """
    name = describe(image)
    with _opened(image, name) as (picture, _):
        width, height = _load(picture, longest, True, name, picture is not image)
        orientation = _orientation(picture)
        size = (height, width) if orientation > _MAX_UNTRANSPOSED else (width, height)
        parts = []
        for box in boxes(*size):
            left, top, right, bottom = _stored_box(box, size, orientation)
            x, y = picture.width / width, picture.height / height
            left, top = int(left * x), int(top * y)
            right, bottom = max(round(right * x), left + 1), max(round(bottom * y), top + 1)
            part = _rgb(picture.crop((left, top, right, bottom)), longest_part)
            parts.append(_upright(np.asarray(part), orientation))
        return parts


def _rgb(picture: Image.Image, longest: int) -> Image.Image:
    """Return a decoded picture as RGB, scaled down; a transparent one is composited over white."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        return Image.fromarray(luminance(picture, longest)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        small = downscale(picture, longest, lambda part: part.convert("RGBA"))
        shown = Image.new("RGB", small.size, "white")
        shown.paste(small, mask=small.getchannel("A"))
        return shown
    return downscale(picture, longest, lambda part: part.convert("RGB"))


@contextmanager
def _opened(
    image: ImageSource, name: str, spent_ns: float = 0.0
) -> Iterator[tuple[Image.Image, float]]:
    """Open an image; yield the image, and the estimated time of decoding it plus `spent_ns`.

    Args:
        image: see `decode`.
        name: name of the image, for error messages.
        spent_ns: estimated time of earlier decodings of this image, in nanoseconds.

    Raises:
        ImageError: the image cannot be opened, or would take too long to decode.
    """
    if isinstance(image, np.ndarray):
        yield _image_of_array(image, name), spent_ns
        return
    if isinstance(image, Image.Image):
        with _PillowErrors(name):
            yield image, spent_ns
        return
    if isinstance(image, bytes):
        if not image:
            raise ImageError(f"{name}: empty; pass the bytes of an image")
        file: BinaryIO = io.BytesIO(image)
    elif isinstance(image, (str, os.PathLike)):
        file = _open_file(image, name)
    elif hasattr(image, "read"):
        file = image
    else:
        raise ImageError(
            f"{name}: not an image; pass a path, bytes, a binary file, a Pillow image or an array"
        )
    try:
        with _PillowErrors(name):
            if not file.seekable():
                file = io.BytesIO(file.read())
            work_ns = check_work(file, name, spent_ns)
            with Image.open(file, formats=FORMATS) as opened:
                yield opened, work_ns
    finally:
        if file is not image:
            file.close()


def describe(image: ImageSource, name: str | None = None) -> str:
    """Return a name of the image for error messages.

    Args:
        image: see `decode`.
        name: a name that is returned unchanged; None derives a name from the image.

    Returns:
        The path of a file; otherwise the kind of the image, like `<bytes>` or `<array>`.
    """
    if name is not None:
        return name
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image)
    if isinstance(image, np.ndarray):
        return "<array>"
    if isinstance(image, (bytes, Image.Image)):
        return "<bytes>" if isinstance(image, bytes) else "<image>"
    return str(getattr(image, "name", f"<{type(image).__name__}>"))


class _PillowErrors:
    """A context manager that converts Pillow's errors to ImageError and suppresses its warnings.

    `warnings.catch_warnings` is not thread-safe. If several threads decode at the same time, the
    first thread enters it, and the last thread leaves it.
    """

    _lock = threading.Lock()
    _depth = 0  # number of threads inside the context
    _caught: "warnings.catch_warnings[Any] | None" = None

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def after_fork(cls) -> None:
        """Forget the threads of the process that was forked; one of them may hold the lock."""
        cls._lock = threading.Lock()
        if cls._caught is not None:
            cls._caught.__exit__(None, None, None)
        cls._depth, cls._caught = 0, None

    def __enter__(self) -> None:
        with _PillowErrors._lock:
            if _PillowErrors._depth == 0:
                _PillowErrors._caught = warnings.catch_warnings()
                _PillowErrors._caught.__enter__()
                warnings.simplefilter("ignore")
            _PillowErrors._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with _PillowErrors._lock:
            _PillowErrors._depth -= 1
            if _PillowErrors._depth == 0 and _PillowErrors._caught is not None:
                _PillowErrors._caught.__exit__(None, None, None)
        if isinstance(error, Image.DecompressionBombError):
            raise ImageError(f"{self.name}: too large to decode; scale it down") from error
        if isinstance(error, UnidentifiedImageError):
            raise ImageError(f"{self.name}: not an image; convert it to {_FORMATS_TEXT}") from error
        if isinstance(error, MemoryError):
            raise ImageError(f"{self.name}: not enough memory to decode; scale it down") from error
        if isinstance(error, _DAMAGE_ERRORS):
            detail = " ".join(str(error).split()) or type(error).__name__
            raise ImageError(
                f"{self.name}: damaged image ({detail[:_MAX_DETAIL_CHARACTERS]}); save it again as "
                "PNG or JPEG"
            ) from error


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_PillowErrors.after_fork)


def _open_file(path: str | os.PathLike[str], name: str) -> BinaryIO:
    """Open a file.

    Raises:
        ImageError: the file is missing, empty or a folder, or cannot be opened.
    """
    try:
        if os.path.isdir(path):
            raise ImageError(f"{name}: a folder, not an image; pass the images in it one by one")
        file = Path(path).open("rb")  # noqa: SIM115  # the caller closes it
        if os.fstat(file.fileno()).st_size == 0 and os.path.isfile(path):
            file.close()
            raise ImageError(f"{name}: empty file; copy it again")
        return file
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file; check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name}: cannot be opened ({reason}); check the path") from error


def _image_of_array(array: npt.NDArray[Any], name: str) -> Image.Image:
    """Convert an array to a Pillow image of 8 bits per channel.

    Raises:
        ImageError: the shape, the dtype or a value is not supported, see `decode`.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"{name}: invalid shape {array.shape}; pass (height, width) or (height, width, 3)"
        )
    if array.size == 0:
        raise ImageError(f"{name}: shape {array.shape} has no pixels; pass a larger image")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = to_uint8(array)
    elif array.dtype.kind == "f":
        low, high = array.min(), array.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ImageError(f"{name}: contains NaN or infinity; replace them (numpy.nan_to_num)")
        if low < 0 or high > 1:
            raise ImageError(
                f"{name}: floats from {low:g} to {high:g}, not 0 to 1; divide by the full scale"
            )
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(
            f"{name}: dtype {array.dtype} is not supported; convert with .astype(numpy.uint8)"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _load(image: Image.Image, longest: int, color: bool, name: str, own: bool) -> tuple[int, int]:
    """Decode an image, if possible at a reduced scale; return its (width, height) as stored.

    Args:
        image: an image that Pillow has opened and not yet decoded.
        longest: wanted length of the longer side, in pixels.
        color: whether color is needed.
        name: name of the image, for error messages.
        own: whether this module opened the image. The size and the mode of other images must not
            change, so they are decoded at full scale.

    Raises:
        ImageError: the image has no pixels or exceeds a limit.
    """
    width, height = image.size
    if not width or not height:
        raise ImageError(f"{name}: {width}x{height} has no pixels; pass a larger image")
    if own:
        needed = memory_bytes(image, longest, color)
        if needed > MAX_DECODED_BYTES:
            raise ImageError(
                f"{name}: {width}x{height} pixels take {needed // 1_000_000} MB to decode, more "
                f"than {MAX_DECODED_BYTES // 1_000_000} MB; scale the image down, or save it as a "
                "plain JPEG"
            )
        if width * height > _TRIM_PIXELS:
            trim_heap()
        scale = reduction(image, longest)
        image.draft("RGB" if color else "L", (width // scale, height // scale))
    if max(width, height) > MAX_SIDE_PX or image.size[0] * image.size[1] > MAX_DECODED_PIXELS:
        raise ImageError(
            f"{name}: {width}x{height} is too large; scale it below "
            f"{MAX_DECODED_PIXELS // 1_000_000} megapixels and {MAX_SIDE_PX:,} pixels a side"
        )
    if image.format == "TIFF":
        with suppress_native_output(2):  # libtiff prints messages about damaged files
            image.load()
    else:
        image.load()
    return width, height


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if it is missing or damaged."""
    if image.format != "TIFF" and not any(key in image.info for key in _ORIENTATION_KEYS):
        return 1
    if any(len(image.info.get(key, "")) > _MAX_EXIF_BYTES for key in _ORIENTATION_KEYS):
        return 1  # Pillow would parse all of the metadata
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DAMAGE_ERRORS:
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _upright(picture: Gray, orientation: int) -> Gray:
    """Undo the EXIF orientation: 5 to 8 exchange the axes, then each axis may be reversed."""
    if orientation > _MAX_UNTRANSPOSED:
        picture = picture.swapaxes(0, 1)
    down = -1 if orientation in _UPSIDE_DOWN else 1
    across = -1 if orientation in _MIRRORED else 1
    return picture[::down, ::across]


def _stored_box(
    box: tuple[int, int, int, int], size: tuple[int, int], orientation: int
) -> tuple[int, int, int, int]:
    """Return the box in the stored picture of a box in the upright one: the inverse of `_upright`.

    Args:
        box: (left, top, right, bottom) in the upright picture.
        size: (width, height) of the upright picture.
        orientation: EXIF orientation.
    """
    left, top, right, bottom = box
    if orientation in _UPSIDE_DOWN:
        top, bottom = size[1] - bottom, size[1] - top
    if orientation in _MIRRORED:
        left, right = size[0] - right, size[0] - left
    return (
        (top, left, bottom, right)
        if orientation > _MAX_UNTRANSPOSED
        else (left, top, right, bottom)
    )
