"""Decodes images: files, modes, bit depths, EXIF orientation, Pillow's errors."""

import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
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
from runtime.preprocess.decode_memory import memory_bytes, reduction, reduction_of
from runtime.preprocess.grayscale import (
    Gray,
    downscale,
    first_principal_component,
    luminance,
    to_uint8,
)

ImageSource: TypeAlias = (
    "str | os.PathLike[str] | bytes | BinaryIO | Image.Image | npt.NDArray[Any]"
)

# What Pillow may decode at once: an A4 page scanned at 600 dpi is 35 million pixels, in color
# 140 MB; a phone's photograph of 12 million takes 195 MB as WebP. A JPEG is decoded at a reduced
# scale, so a larger one passes, unless it is progressive.
MAX_DECODED_PIXELS = 40_000_000
MAX_DECODED_BYTES = 200_000_000
# Decoders that read pixels and nothing else (no Ghostscript, no nested documents); the ones that
# Pillow loads at once come first.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
READABLE = "PNG, JPEG, BMP, GIF, PPM, TIFF or WebP"

# What Pillow raises on damaged files. Cutting and flipping bytes at thousands of places gave
# OSError, SyntaxError and ValueError; the rest is what its releases are known to raise besides.
_DAMAGE = (
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
_ORIENTATION_TAG = 0x0112
_MAX_EXIF_BYTES = 1 << 17  # cameras write less than 64 kB, twice that as hexadecimal text
_GRAY_MODES = ("1", "L", "LA", "La", "I", "F")
_HAS_ORIENTATION = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")


@dataclass(frozen=True)
class Decoded:
    """A gray picture, upright, no larger than was asked for.

    `gray` is uint8 (height, width); `size` is the (width, height) of the upright original;
    `colored` says that the original holds more than luminance.
    """

    gray: Gray
    size: tuple[int, int]
    colored: bool


@dataclass(frozen=True)
class DecodedColor:
    """A color picture, upright, no larger than was asked for.

    `rgb` is uint8 (height, width, 3); `size` is the (width, height) of the upright original.
    """

    rgb: Gray
    size: tuple[int, int]


def decode(image: ImageSource, *, longest: int, color: bool = False) -> Decoded:
    """Decode an image to gray, its longest side reduced to at most `longest` pixels.

    A path, bytes, a binary file object, a Pillow image, or an array (height, width[, 1, 3 or 4])
    of uint8, uint16, bool or float from 0 to 1. Of an animation, the first frame. Gray is the
    luminance, or with `color` the axis along which the colors differ most. Where an image is
    transparent, see `grayscale._composite`. Raises ImageError, naming the file.
    """
    return CachedDecoder(image).decode(longest=longest, color=color)


class CachedDecoder:
    """An image that is decoded once for several looks at it, of any size and in color.

    A JPEG is decoded anew for a look at another scale or in color. Not safe to share between
    threads.

    Attributes:
        name: what messages call the image.
    """

    def __init__(self, image: ImageSource, name: str | None = None) -> None:
        self.name = describe(image, name)
        self._image = image
        self._loaded: _Loaded | None = None
        self._spent_ns = 0.0  # estimated work of the decodings so far

    def decode(self, *, longest: int, color: bool = False) -> Decoded:
        """Return the image in gray, see the function `decode`."""
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
            seen_in_color = color and loaded.colored
            self._check_copy(image, longest)
            gray = (first_principal_component if seen_in_color else luminance)(image, longest)
        width, height = loaded.size
        size = (height, width) if loaded.turn > 4 else (width, height)
        return Decoded(_upright(gray, loaded.turn), size, loaded.colored)

    def _check_copy(self, image: Image.Image, longest: int) -> None:
        """Raise ImageError if a close look takes a converted copy that is too large."""
        pixels = image.width * image.height
        converted = image.mode not in ("1", "L", "I", "F", "RGB") and image.mode[:2] != "I;"
        if converted and 4 * longest > max(image.size) and 6 * pixels > MAX_DECODED_BYTES:
            raise ImageError(
                f"{self.name}: {image.width}x{image.height} of mode {image.mode} is too large for "
                "writing this small; save it in gray, or crop it"
            )

    def release(self, most_pixels: int) -> None:
        """Free the decoded picture if it has more pixels; a further look decodes it again."""
        if self._loaded is not None:
            width, height = self._loaded.image.size
            if width * height > most_pixels:
                self._loaded = None

    def _load(self, longest: int, color: bool) -> "_Loaded":
        if self._loaded is not None and self._loaded.serves(longest, color):
            return self._loaded
        self._loaded = None
        with _opened(self._image, self.name, self._spent_ns) as (picture, self._spent_ns):
            colored = picture.mode not in _GRAY_MODES and picture.mode[:2] != "I;"
            own = picture is not self._image
            size = _load(picture, longest, color, self.name, own)
            if own and picture.format == "WEBP":
                opened: Any = picture
                opened._decoder = None  # it holds two more canvases
            reduced = own and picture.format in ("JPEG", "MPO")
            form = (reduction_of(size, longest), color) if reduced else None
            self._loaded = _Loaded(picture, size, _turn(picture), colored, form)
        return self._loaded


@dataclass(frozen=True)
class _Loaded:
    """A decoded picture as it is stored, and the size and orientation of the original.

    `form` is None, or the reduction of a JPEG and whether it was decoded in color.
    """

    image: Image.Image
    size: tuple[int, int]
    turn: int
    colored: bool
    form: tuple[int, bool] | None

    def serves(self, longest: int, color: bool) -> bool:
        """Return whether a look of this size and kind can be taken at it."""
        return self.form is None or self.form == (reduction_of(self.size, longest), color)


def decode_color(image: ImageSource, *, longest: int) -> DecodedColor:
    """Decode an image for people to look at: RGB, what is transparent over white, see `decode`."""
    name = describe(image)
    with _opened(image, name) as (picture, _):
        width, height = _load(picture, longest, True, name, picture is not image)
        if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
            shown = Image.fromarray(luminance(picture, longest)).convert("RGB")
        elif "A" in picture.getbands() or "transparency" in picture.info:
            small = downscale(picture, longest, lambda part: part.convert("RGBA"))
            shown = Image.new("RGB", small.size, "white")
            shown.paste(small, mask=small.getchannel("A"))
        else:
            shown = downscale(picture, longest, lambda part: part.convert("RGB"))
        turn = _turn(picture)
    upright = _upright(np.asarray(shown), turn)
    return DecodedColor(upright, (height, width) if turn > 4 else (width, height))


@contextmanager
def _opened(
    image: ImageSource, name: str, spent_ns: float = 0.0
) -> Iterator[tuple[Image.Image, float]]:
    """Yield the opened image, and the estimated work of decoding it, added to `spent_ns`."""
    if isinstance(image, np.ndarray):
        yield _image_of_array(image, name), spent_ns
        return
    if isinstance(image, Image.Image):
        with _PillowErrors(name):
            yield image, spent_ns
        return
    if isinstance(image, bytes):
        if not image:
            raise ImageError(f"{name}: empty; give it the bytes of an image")
        file: BinaryIO = io.BytesIO(image)
    elif isinstance(image, (str, os.PathLike)):
        file = _open_file(image, name)
    elif hasattr(image, "read"):
        file = image
    else:
        raise ImageError(
            f"{name}: not an image; give a path, bytes, a binary file, a Pillow image or an array"
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
    """What a message calls the image: its file name, else `<bytes>`, `<array>` and the like."""
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
    """Turns what Pillow raises into an ImageError, and keeps its warnings off stderr.

    `warnings.catch_warnings` alone is not safe in threads: it is entered by the first and left by
    the last that decodes.
    """

    _lock = threading.Lock()
    _depth = 0
    _caught: "warnings.catch_warnings[Any] | None" = None

    def __init__(self, name: str) -> None:
        self.name = name

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
            raise ImageError(f"{self.name}: not an image; convert it to {READABLE}") from error
        if isinstance(error, MemoryError):
            raise ImageError(f"{self.name}: not enough memory for it; scale it down") from error
        if isinstance(error, _DAMAGE):
            detail = " ".join(str(error).split()) or type(error).__name__
            raise ImageError(
                f"{self.name}: damaged image ({detail[:80]}); save it again as PNG or JPEG"
            ) from error


def _open_file(path: str | os.PathLike[str], name: str) -> BinaryIO:
    try:
        if os.path.isdir(path):
            raise ImageError(f"{name}: a folder; give the images in it one by one")
        file = Path(path).open("rb")
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
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"{name}: shape {array.shape} is no image; give (height, width) or (height, width, 3)"
        )
    if array.size == 0:
        raise ImageError(f"{name}: shape {array.shape} has no pixels; give an image that has some")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype == np.uint16:
        array = to_uint8(array)
    elif array.dtype.kind == "f":
        low, high = array.min(), array.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ImageError(f"{name}: holds NaN or infinity; replace them (numpy.nan_to_num)")
        if low < 0 or high > 1:
            raise ImageError(
                f"{name}: floats from {low:g} to {high:g}, not 0 to 1; divide by the full scale"
            )
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(
            f"{name}: dtype {array.dtype} is no image; convert with .astype(numpy.uint8)"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _load(image: Image.Image, longest: int, color: bool, name: str, ours: bool) -> tuple[int, int]:
    """Decode no more of the image than is needed; its (width, height) as stored.

    `ours` is False for an image of the caller's, which stays as large and as colored as it is.
    """
    width, height = image.size
    if not width or not height:
        raise ImageError(f"{name}: {width}x{height} has no pixels; give an image that has some")
    if ours:
        needed = memory_bytes(image, longest, color)
        if needed > MAX_DECODED_BYTES:
            raise ImageError(
                f"{name}: {width}x{height} takes {needed // 1_000_000} MB to decode, more than "
                f"{MAX_DECODED_BYTES // 1_000_000}; scale it down, or save it as a plain JPEG"
            )
        scale = reduction(image, longest)
        image.draft("RGB" if color else "L", (width // scale, height // scale))
    if image.size[0] * image.size[1] > MAX_DECODED_PIXELS:
        raise ImageError(
            f"{name}: {width}x{height} is too large; scale it below "
            f"{MAX_DECODED_PIXELS // 1_000_000} megapixels"
        )
    image.load()
    return width, height


def _turn(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none."""
    if image.format == "TIFF" or any(key in image.info for key in _HAS_ORIENTATION):
        return _orientation(image)
    return 1


def _orientation(image: Image.Image) -> int:
    if any(len(image.info.get(key, "")) > _MAX_EXIF_BYTES for key in _HAS_ORIENTATION):
        return 1  # Pillow would unpack all of it for one number
    try:
        turn = image.getexif().get(_ORIENTATION_TAG, 1)
    except _DAMAGE:
        return 1  # damaged metadata is no reason to refuse a sound picture
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _upright(gray: Gray, turn: int) -> Gray:
    """Undo the EXIF orientation: 5 to 8 exchange the axes, then each axis may be reversed."""
    if turn > 4:
        gray = gray.swapaxes(0, 1)
    return gray[:: -1 if turn in (3, 4, 7, 8) else 1, :: -1 if turn in (2, 3, 6, 7) else 1]
