"""URLs of operators and gateways: how they are typed, and where an API is reached from here."""

from __future__ import annotations

import ipaddress
from typing import Any, Dict
from urllib.parse import urlsplit, urlunsplit

from cortex.exceptions import BadRequest, NotFound

# Under these names every container reaches the platform (contract C10), as the original had them.
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
    """A URL as a person types it, in one form. Without a scheme, `http` is meant for this machine and `https` for all others.

    Raises:
        BadRequest: for what is no URL.
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
    """A URL as it may be shown: what stands before an `@`, in a query or in a fragment can be a secret (contract N9)."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    shown = f"…@{rest.rsplit('@', 1)[1]}" if "@" in rest else rest
    return scheme + separator + shown.split("?")[0].split("#")[0]


def gateway_url(api: Dict[str, Any], operator_endpoint: str) -> str:
    """Where an API's requests go to, seen from here.

    The operator shows the public URL. Inside a container only the cluster's own name of the gateway is sure to be reached (contract C10);
    and an address on loopback is the server's loopback, which from another machine means the server.
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
