"""Which versions are compatible (contract O6)."""

from __future__ import annotations

import os
import re
from typing import Optional
from urllib.parse import urlsplit

from cortex._addresses import GATEWAY
from cortex._version import __version__
from cortex.exceptions import VersionMismatch

_SERIES = re.compile(r"([0-9]+)\.([0-9]+)")
_PLAIN = re.compile(r"[0-9A-Za-z.+_-]{1,40}")


def check(client: str, server: str) -> None:
    """The same rule and message as the operator's, which a test compares.

    Raises:
        VersionMismatch: the versions are not compatible; the message names both and says what to do.
    """
    ours, theirs = _series(client), _series(server)
    if ours is None or ours != theirs:
        raise VersionMismatch(
            f"the client has version {_shown(client)} and the server has version {_shown(server)}, which do not"
            f" understand each other: use a client of version {theirs or _shown(server)}, or bring the server to"
            f" version {ours or _shown(client)}"
        )


def check_container(url: str) -> None:
    """Checks the gateway's version inside a container, where only `CORTEX_VERSION` states it. It is valid for this
    cluster's gateway only.

    Raises:
        VersionMismatch: as `check`.
    """
    server = os.environ.get("CORTEX_VERSION")
    if server is not None and urlsplit(url).hostname == GATEWAY:
        check(__version__, server)


def _series(version: str) -> Optional[str]:
    found = _SERIES.match(version)
    return f"{int(found[1])}.{int(found[2])}" if found else None


def _shown(version: str) -> str:
    return version if _PLAIN.fullmatch(version) else "of an unknown form"
