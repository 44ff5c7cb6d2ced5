"""URLs of operators and gateways: how they are written, and which URL reaches an API from here."""

from __future__ import annotations

import ipaddress
from typing import Any, Dict
from urllib.parse import urlsplit, urlunsplit

from cortex.exceptions import BadRequest, NotFound

# Every container reaches the platform under these names of the original (contract C10).
GATEWAY = "ingressgateway-apis.istio-system.svc.cluster.local"
OPERATOR_INGRESS = "ingressgateway-operator.istio-system.svc.cluster.local"
OPERATOR_SERVICE = "operator.default.svc.cluster.local"


def is_loopback(host: str) -> bool:
    host = host.lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local(host: str) -> bool:
    """This machine, or a name that only exists inside the cluster."""
    return is_loopback(host) or host.lower().endswith(".svc.cluster.local")


def endpoint_url(text: str) -> str:
    """A URL in normal form. Without a scheme it is `http` for this machine and `https` for others.

    Raises:
        BadRequest: the text is not a URL.
    """
    wrong = BadRequest(
        f"{_without_secrets(text)!r} is not a URL; write it like http://127.0.0.1:8888 or https://cortex.example.com"
    )
    candidate = text.strip()
    try:
        if "://" not in candidate:
            host = urlsplit(f"http://{candidate}").hostname or ""
            candidate = f"{'http' if is_local(host) else 'https'}://{candidate}"
        parts = urlsplit(candidate)
        _ = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise wrong
    if parts.username or parts.password or parts.query or parts.fragment or any(c.isspace() for c in candidate):
        raise wrong
    return urlunsplit((parts.scheme, _authority(parts.hostname, parts.port), parts.path.rstrip("/"), "", ""))


def _without_secrets(text: str) -> str:
    """A URL that may be shown: the user info, the query and the fragment can be secrets (contract N9)."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    shown = f"…@{rest.rsplit('@', 1)[1]}" if "@" in rest else rest
    return scheme + separator + shown.split("?")[0].split("#")[0]


def gateway_url(api: Dict[str, Any], operator_endpoint: str) -> str:
    """The URL to which an API's requests are sent from here.

    The operator shows the public URL. Inside a container only the cluster's name of the gateway is always reachable
    (contract C10). A loopback address is the server's loopback; from another machine it means the server.
    """
    text = api.get("endpoint")
    if not text:
        raise NotFound("the operator names no endpoint for this API; deploy it again")
    parts, operator = urlsplit(endpoint_url(text)), urlsplit(endpoint_url(operator_endpoint))
    operator_host = operator.hostname or ""
    if operator_host in (OPERATOR_INGRESS, OPERATOR_SERVICE):
        return urlunsplit(("http", GATEWAY, parts.path, "", ""))
    if is_loopback(parts.hostname or "") and not is_loopback(operator_host):
        return urlunsplit((parts.scheme, _authority(operator_host, parts.port), parts.path, "", ""))
    return urlunsplit(parts)


def _authority(host: str, port: Any) -> str:
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port is not None else host
