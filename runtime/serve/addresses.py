"""Hosts and ports on the command line and in messages; needs nothing of the extra `serve`."""

import re

_MAX_PORT = 65_535
# An IPv6 address stands in brackets, as in a URL: else its end could be the port.
_ADDRESS = re.compile(r"(?:\[([^\[\]]*:[^\[\]]*)\]|([^\[\]:]*)):([^:]*)", re.DOTALL)


def parse_port(text: str) -> int | None:
    """Return the port, 0 to 65535, or None if the text is none."""
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > _MAX_PORT:
        return None
    return int(text)


def parse_address(text: str) -> tuple[str, int] | None:
    """Return host and port of `[HOST]:PORT`, or None if the text has another form.

    The host has no brackets any more; it is empty if there is none.
    """
    found = _ADDRESS.fullmatch(text)
    port = None if found is None else parse_port(found[3])
    if found is None or port is None:
        return None
    return found[1] or found[2], port


def join_address(host: str, port: int) -> str:
    """Return host and port as they stand in a URL: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
