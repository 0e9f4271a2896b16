"""Fetches a file of a bounded size over HTTP: time-outs, a lowest rate, begun again when broken."""

import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, Any

from runtime.errors import EdgeError

TIMEOUT_S = 10.0
TRIES = 3
# A server that stays below this rate for so long is given up.
_SLOWEST_BYTES_PER_S, _SLOW_FOR_S = 1000, 20.0
_CHUNK = 1 << 16


class NotFound(EdgeError):
    """The server says that there is no such file."""


def fetch(url: str, path: Path, limit: int) -> None:
    """Fetch `url` into `path`; nothing else is written, and what is there is whole.

    Args:
        url: of http or https; a redirection from https to http is refused.
        path: written over.
        limit: in bytes; more is refused.

    Raises:
        NotFound: the server answers 404 or 410.
        EdgeError: it could not be fetched in `TRIES` tries, is too large, or cannot be written.
    """
    opener = urllib.request.build_opener(_StaysSecure())
    for last in (*[False] * (TRIES - 1), True):
        try:
            _once(opener, url, path, limit)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (404, 410):
                raise NotFound(f"{_shown(url)}: the server has no such file") from None
            reason = f"the server answers {error.code} {error.reason}"
            last = last or error.code < 500
        except urllib.error.URLError as error:
            reason = str(getattr(error.reason, "strerror", None) or error.reason)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        except ValueError as error:
            raise EdgeError(
                f"cannot fetch {_shown(url)}: it is no address, or leads to none ({error}); "
                "write what is not ASCII as %XX"
            ) from error
        if last:
            raise EdgeError(f"cannot fetch {_shown(url)}: {reason}; check the address")
        time.sleep(0.5)


def _once(opener: urllib.request.OpenerDirector, url: str, path: Path, limit: int) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "digit-edge"})
    with opener.open(request, timeout=TIMEOUT_S) as response:
        length = response.headers.get("Content-Length", "")
        expected = int(length) if length.isdecimal() and len(length) < 20 else None
        with _writing(path) as file:
            began, have = time.monotonic(), 0
            while chunk := response.read1(_CHUNK):
                have += len(chunk)
                if have > limit:
                    raise EdgeError(
                        f"{_shown(url)} is larger than {limit >> 20 or 1} MiB: no such model"
                    )
                _write(file, chunk, path)
                seconds = time.monotonic() - began
                if seconds > _SLOW_FOR_S and have < _SLOWEST_BYTES_PER_S * seconds:
                    raise TimeoutError("the server is too slow")
    if expected is not None and have < expected:
        raise OSError(f"it broke off after {have} of {expected} bytes")


def _writing(path: Path) -> IO[bytes]:
    try:
        return open(path, "wb", buffering=0)
    except OSError as error:
        raise _unwritable(path, error) from error


def _write(file: IO[bytes], chunk: bytes, path: Path) -> None:
    try:
        while chunk:
            chunk = chunk[file.write(chunk) :]
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> EdgeError:
    return EdgeError(
        f"cannot write {path}: {error.strerror or error}; "
        "check the folder, its permissions and the space left"
    )


def _shown(url: str) -> str:
    """A URL without a password that it may hold."""
    return re.sub("//[^/?#]*@", "//", url, count=1)


class _StaysSecure(urllib.request.HTTPRedirectHandler):
    """Follows redirections to http and https only, and from https to https only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme != "https"):
            fp.close()
            raise EdgeError(f"{_shown(req.full_url)} leads to {scheme}: give the address itself")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
