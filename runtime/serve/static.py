"""A page's files, read once: only what is in the folder can be asked for."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
_MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class File:
    """One file of the page."""

    content: bytes
    media_type: str
    tag: str

    async def respond(self, request: Request) -> Response:
        """The file, or 304 where the browser has this very version."""
        headers = {"ETag": self.tag, "Cache-Control": "no-cache"}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def load(folder: Path = FOLDER) -> dict[str, File]:
    """Return the files of a page by path; the index is at / too."""
    files = {
        f"/{path.name}": _open(path)
        for path in sorted(folder.iterdir())
        if path.suffix in _MEDIA_TYPES
    }
    return {"/": files[f"/{INDEX}"], **files}


def _open(path: Path) -> File:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return File(content, _MEDIA_TYPES[path.suffix], f'"{digest}"')
