"""The HTTP clients of one address: one per process and, for asyncio, one per event loop.

A socket must not be used in both processes after a fork, nor in another event loop than its own. So a forked process
and a new loop get their own HTTP client. Inherited clients are neither used nor closed, because closing could send
something.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import weakref
from typing import Any, Dict, MutableMapping, Optional
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from cortex._addresses import is_local
from cortex.exceptions import InvalidArgument, NotSupported

# A long poll occupies a connection for most of a minute, so the pool must not limit their number.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=64)
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
#: Longest wait for the connections of another event loop to close, in seconds.
_CLOSING = 5.0


def _options(address: str) -> Dict[str, Any]:
    parts = urlsplit(address)
    # This machine and the cluster's names are not reached through a proxy.
    trust = not is_local(parts.hostname or "")
    options: Dict[str, Any] = {"limits": _LIMITS, "trust_env": trust, "follow_redirects": False}
    proxies = getproxies() if trust else {}
    if parts.scheme == "http" and not any(value.startswith("https:") for value in proxies.values()):
        # Nothing is encrypted, so no certificates are read.
        options["verify"] = False
    return options


def _is_direct(address: str) -> bool:
    return is_local(urlsplit(address).hostname or "") or not getproxies()


def _unusable(error: Exception) -> InvalidArgument:
    """An error with the environment variable that the HTTP library could not use, and its value without credentials."""
    for name in _variables():
        value = os.environ[name]
        problem = _problem(name, value)
        if problem is not None:
            return InvalidArgument(
                f"the environment variable {name}={_without_credentials(value)!r} cannot be used: {problem};"
                " correct it or unset it"
            )
    names = ", ".join(_variables()) or "none of them is set"
    return InvalidArgument(
        f"the HTTP library cannot be set up ({type(error).__name__}: {error}); check the environment variables for"
        f" certificates and proxies ({names})"
    )


def _variables() -> list[str]:
    candidates = [*_CERTIFICATES, *_PROXIES, *(name.lower() for name in _PROXIES)]
    return [name for name in candidates if os.environ.get(name)]


def _problem(name: str, value: str) -> Optional[str]:
    try:
        if name == "SSL_CERT_FILE":
            ssl.create_default_context(cafile=value)
        elif name == "SSL_CERT_DIR":
            if not os.path.isdir(value):
                return "there is no such folder"
        elif name.upper() != "NO_PROXY":
            address = value if "://" in value else f"http://{value}"
            httpx.HTTPTransport(verify=False, proxy=httpx.Proxy(address)).close()
    except ImportError:
        return "SOCKS proxies need the package httpx[socks]"
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return error.strerror or "it is not a file of certificates"
    except Exception as error:
        return _without_credentials(str(error)) or type(error).__name__
    return None


def _without_credentials(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    return f"{scheme}://{rest.rsplit('@', 1)[-1]}" if separator and "@" in rest else text


class Connections:
    """One synchronous HTTP client per process. Safe from any thread.

    Args:
        given: the caller's own client, which is used instead and never closed.
    """

    def __init__(self, address: str, given: Optional[httpx.Client] = None) -> None:
        self._address, self._given = address, given
        self._process = os.getpid()
        # By process: the clients that a forked process inherits stay referenced here, so nothing closes them.
        self._clients: Dict[int, httpx.Client] = {}
        if given is None:
            self.client()

    def __getstate__(self) -> Dict[str, Any]:
        return _state(self._address, self._given)

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.__init__(state["address"])  # type: ignore[misc]

    @property
    def is_direct(self) -> bool:
        """Whether no proxy is between this client and the address."""
        return self._given is None and _is_direct(self._address)

    def client(self) -> httpx.Client:
        process = os.getpid()
        if self._given is not None:
            _check_process(self._process, process)
            return self._given
        # A client without connections costs nothing: if two threads create one each, the first one is kept.
        return self._clients.get(process) or self._clients.setdefault(process, self._make())

    def _make(self) -> httpx.Client:
        try:
            return httpx.Client(**_options(self._address))
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            raise _unusable(error) from error

    def close(self) -> None:
        own = self._clients.get(os.getpid())
        if own is not None:
            own.close()


class AsyncConnections:
    """One asynchronous HTTP client per process and event loop.

    Args:
        given: the caller's own client, which is used instead and never closed.
    """

    def __init__(self, address: str, given: Optional[httpx.AsyncClient] = None) -> None:
        self._address, self._given = address, given
        self._process = os.getpid()
        self._is_closed = False
        self._clients: Dict[int, MutableMapping[asyncio.AbstractEventLoop, httpx.AsyncClient]] = {}
        # Created outside of any loop it has no connections yet; the first loop takes it.
        self._first: Optional[httpx.AsyncClient] = None if given is not None else self._make()

    def __getstate__(self) -> Dict[str, Any]:
        return _state(self._address, self._given)

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.__init__(state["address"])  # type: ignore[misc]

    @property
    def is_direct(self) -> bool:
        """Whether no proxy is between this client and the address."""
        return self._given is None and _is_direct(self._address)

    def client(self) -> httpx.AsyncClient:
        process = os.getpid()
        if self._given is not None:
            _check_process(self._process, process)
            return self._given
        if self._is_closed:
            raise InvalidArgument("this client was closed; create another one")
        clients = self._clients.setdefault(process, weakref.WeakKeyDictionary())
        loop = _running_loop()
        client = clients.get(loop)
        if client is None:
            # The clients of a closed loop cannot be used or closed any more; their sockets ended with the loop.
            for each in [other for other in clients if other.is_closed()]:
                clients.pop(each, None)
            first, self._first = self._first, None
            clients[loop] = client = first or self._make()
        return client

    def _make(self) -> httpx.AsyncClient:
        try:
            return httpx.AsyncClient(**_options(self._address))
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            raise _unusable(error) from error

    async def close(self) -> None:
        """Closes the connections of this loop, and of other running loops of this process."""
        self._is_closed = self._given is None
        here = _running_loop()
        for loop, client in list(self._clients.pop(os.getpid(), {}).items()):
            if loop is here:
                await client.aclose()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(client.aclose(), loop)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(asyncio.wrap_future(closing), _CLOSING)


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise NotSupported("the asynchronous client needs a running asyncio event loop") from None


def _state(address: str, given: Any) -> Dict[str, Any]:
    if given is not None:
        raise InvalidArgument(
            "an object that was created with http=… cannot be pickled; create it in the other process"
        )
    return {"address": address}


def _check_process(made: int, now: int) -> None:
    if made != now:
        raise InvalidArgument(
            "the HTTP client that was given as http=… belongs to the process before the fork; make another here"
        )
