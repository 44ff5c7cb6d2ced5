"""Checks arguments before anything is sent. No message shows the value of a secret."""

from __future__ import annotations

import re
from typing import Dict, Mapping, Optional
from urllib.parse import quote, urlencode

from cortex.exceptions import InvalidArgument

_TOKEN = re.compile(r"[!-~]+\Z")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_KEY = re.compile(r"[ -~]{1,255}\Z")
#: The client and the connection set these; another value would break the message's framing.
_FRAMING = {"connection", "content-length", "host", "transfer-encoding"}


def token(text: Optional[str], source: str = "token") -> Optional[str]:
    """A token without the white space around it; None for an empty one.

    Raises:
        InvalidArgument: it contains a character that tokens cannot have.
    """
    stripped = (text or "").strip()
    if not stripped:
        return None
    if not _TOKEN.match(stripped):
        position, character = next((i, c) for i, c in enumerate(stripped) if not "!" <= c <= "~")
        what = (
            "a line break"
            if character in "\r\n\u2028\u2029\x85"
            else "white space"
            if character.isspace()
            else "a character that is not printable ASCII"
        )
        raise InvalidArgument(
            f"{source} has {what} inside, at character {position + 1} of {len(stripped)}; copy the token again"
        )
    return stripped


def header_fields(fields: Mapping[str, str]) -> Dict[str, str]:
    """A request's own header fields, without white space around their values.

    Raises:
        InvalidArgument: a header is invalid; the message names it.
    """
    checked: Dict[str, str] = {}
    for name, value in fields.items():
        if not isinstance(name, str) or not _NAME.match(name):
            raise InvalidArgument(f"headers: {name!r} is not a header name")
        if name.lower() in _FRAMING:
            raise InvalidArgument(f"headers: {name} is set by the client itself; omit it")
        if not isinstance(value, str):
            raise InvalidArgument(f"headers: the value of {name} is {type(value).__name__}; give a text")
        value = value.strip(" \t\r\n")
        if _CONTROL.search(value):
            raise InvalidArgument(f"headers: the value of {name} has a line break or another control character inside")
        encoded(value, f"headers: the value of {name}")
        checked[name] = value
    return checked


def suffix(path: str, params: Mapping[str, str]) -> str:
    """A path, and perhaps a query, as they are appended to an endpoint byte for byte.

    Raises:
        InvalidArgument: HTTP cannot carry it; the message says how to write it.
    """
    if not isinstance(path, str) or path[:1] not in ("/", "?"):
        raise InvalidArgument(f"path must be a text that begins with / or ?, not {path!r}")
    wrong = next((c for c in path if not "!" <= c <= "~" or c == "#"), None)
    if wrong is not None:
        raise InvalidArgument(
            f"path has {wrong!r}, which a URL cannot have there; write it as {quote(encoded(wrong, 'path'), safe='')}"
            " (path is sent byte for byte)"
        )
    if not params:
        return path
    fields = [(encoded(str(name), "params"), encoded(str(value), f"params: {name}")) for name, value in params.items()]
    return path + ("&" if "?" in path else "?") + urlencode(fields)


def method(name: str) -> str:
    """The same method.

    Raises:
        InvalidArgument: HTTP has no such method names.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise InvalidArgument(f"method must be a word such as GET or PROPFIND, not {name!r}")
    return name


def idempotency_key(text: str) -> str:
    """The same key.

    Raises:
        InvalidArgument: the key is invalid (contract A6).
    """
    if not isinstance(text, str) or not _KEY.match(text):
        raise InvalidArgument("idempotency_key must be 1 to 255 printable ASCII characters")
    return text


def encoded(text: str, what: str) -> bytes:
    """A text as UTF-8.

    Raises:
        InvalidArgument: it contains half of a surrogate pair, which UTF-8 cannot express.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{what} has an unpaired surrogate at character {error.start + 1}, which UTF-8 cannot express;"
            " send bytes, or JSON"
        ) from None
