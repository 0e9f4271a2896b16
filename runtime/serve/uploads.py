"""Read the body of a POST request: an image, the file of a multipart form, or JSON.

`runtime.serve.app` calls `read_image` and `read_body`. The size of a body, the memory of all bodies
together and the time of the arrival are limited.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from runtime.serve.limits import Limits
from runtime.serve.problem_details import HttpProblem

# Quoted in the message to a client that sends another content type.
_ACCEPTED_TYPES = "image/*, application/octet-stream, multipart/form-data or application/json"
_MAX_FORM_FIELDS = 8  # fields of a form besides the file; a form with more fields gets 400
_QUOTED_CHARS = 80  # length of the start of an exception that an error message quotes


class _InMemoryParser(MultiPartParser):
    """Parses forms in memory; Starlette's own parser writes large files to the disk."""

    # Size in bytes; a larger file is written to the disk. The limit on bodies is far lower, so
    # all files stay in memory.
    spool_max_size = 1 << 40


async def read_image(
    request: Request, limits: Limits, reserve: Callable[[int], None]
) -> tuple[bytes | bytearray, bool]:
    """Read the image of a request, from its body or its form.

    Args:
        request: a POST request. Its body is an image file, a multipart form with a file, or JSON.
        limits: `body_bytes` limits the size of the body; `seconds` limits the time of its arrival.
        reserve: called with the size in bytes of each received chunk; raises HttpProblem if all
            bodies together are too large (`UploadBudget.lease`).

    Returns:
        (the content, not empty; whether it is JSON that contains the image).

    Raises:
        HttpProblem: 400 (no image, or a damaged form), 408 (too slow), 413 (too large), 415 (wrong
            content type), or 503 (too many uploads).
    """
    content_type = request.headers.get("content-type", "application/octet-stream")
    media_type = content_type.partition(";")[0].strip().lower()
    is_form, is_json = media_type == "multipart/form-data", media_type == "application/json"
    is_file = media_type == "application/octet-stream" or media_type.startswith("image/")
    if not (is_form or is_json or is_file):
        raise HttpProblem(
            415, f"the content type is {media_type or 'empty'}: send {_ACCEPTED_TYPES}"
        )
    chunks = _receive(request, limits, reserve)
    image = await _in_time(_read_form(request, chunks) if is_form else _join(chunks), limits)
    if not image:
        raise HttpProblem(400, "no image was sent: send its bytes as the body, or a file in a form")
    return image, is_json


async def read_body(
    request: Request, limits: Limits, reserve: Callable[[int], None]
) -> bytes | bytearray:
    """Return the body of a request, of any content type.

    Args:
        request: a POST request.
        limits: as for `read_image`.
        reserve: as for `read_image`.

    Raises:
        HttpProblem: 400 (the connection was closed), 408 (too slow), 413 (too large), 415
            (compressed), or 503 (too many uploads).
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise HttpProblem(415, "the body is compressed: send it without Content-Encoding")
    return await _in_time(_join(_receive(request, limits, reserve)), limits)


async def _in_time(
    reading: Coroutine[Any, Any, bytes | bytearray], limits: Limits
) -> bytes | bytearray:
    """Return the result of reading a body.

    Raises:
        HttpProblem: 408 if it takes longer than `limits.seconds`; 400 if the client has left.
    """
    try:
        return await asyncio.wait_for(reading, limits.seconds)
    except (TimeoutError, asyncio.TimeoutError) as error:
        raise HttpProblem(
            408,
            f"the body did not arrive within {limits.seconds:g} s: send a smaller image",
            {"Connection": "close"},
        ) from error
    except ClientDisconnect as error:
        raise HttpProblem(400, "the connection was closed before the end of the body") from error


async def _receive(
    request: Request, limits: Limits, reserve: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of the body as they arrive.

    Raises:
        HttpProblem: 413 if the body is too large, 503 if there are too many uploads.
    """
    too_large = HttpProblem(
        413, f"the body is larger than {limits.body_bytes:,} bytes: send a smaller image"
    )
    content_length = request.headers.get("content-length", "0")
    if content_length.isdecimal() and int(content_length) > limits.body_bytes:
        raise too_large
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limits.body_bytes:
            raise too_large
        reserve(len(chunk))
        yield chunk


async def _join(chunks: AsyncGenerator[bytes, None]) -> bytearray:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
    return body


async def _read_form(request: Request, chunks: AsyncGenerator[bytes, None]) -> bytes:
    """Return the content of the first file of a multipart form.

    Raises:
        HttpProblem: 400 if the form cannot be parsed or contains no file.
    """
    parser = _InMemoryParser(request.headers, chunks, max_files=1, max_fields=_MAX_FORM_FIELDS)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HttpProblem(400, f"cannot parse the form: {error.message}") from error
    except (KeyError, ValueError, LookupError) as error:
        reason = repr(error)[:_QUOTED_CHARS]
        raise HttpProblem(400, f"cannot parse the form: {reason}") from error
    try:
        for _, value in form.multi_items():
            if isinstance(value, UploadFile):
                return await value.read()
    finally:
        await form.close()
    raise HttpProblem(400, "no file in the form: add the image as a file field with a file name")
