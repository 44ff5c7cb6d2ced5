"""Everything this package raises. `CortexException` is the base of all of it."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Type


class CortexException(Exception):
    """Base of every error of this package."""


class CortexBinaryException(CortexException):
    """What the original package raised for every failure of its program. The base of `PlatformError`, so that code which catches it still does."""


class PlatformError(CortexBinaryException):
    """The platform refused a call, or could not be reached.

    Attributes:
        kind: a word for programs, such as `queue_full`.
        message: what is wrong and what to do next, for people.
        status: the HTTP status; None where no answer came.
        retry_after: seconds after which the platform wants to be asked again, if it said so.
    """

    default_kind = "internal"

    def __init__(
        self,
        message: str,
        *,
        kind: Optional[str] = None,
        status: Optional[int] = None,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind or self.default_kind
        self.status = status
        self.retry_after = retry_after


class BadRequest(PlatformError):
    """400, 405: a parameter, header or method that is not understood."""

    default_kind = "bad_request"


class InvalidArgument(BadRequest, ValueError, TypeError):
    """An argument, a setting or an environment variable that cannot be used. Nothing was sent."""


class Unauthorized(PlatformError):
    """401: the operator's token is missing or wrong."""

    default_kind = "unauthorized"


class Forbidden(PlatformError):
    """403: the token is valid, but it does not allow this call; inside a container `pod.operator_access` decides."""

    default_kind = "forbidden"


class NotFound(PlatformError):
    """404: no such environment, API, version or request; a request's result may have expired."""

    default_kind = "not_found"


class Conflict(PlatformError):
    """409: not possible in the present state, such as cancelling a request that has ended."""

    default_kind = "conflict"


class PayloadTooLarge(PlatformError):
    """413: over the API's `max_payload`."""

    default_kind = "payload_too_large"


class IdempotencyKeyReused(PlatformError):
    """422: this idempotency key belongs to another request."""

    default_kind = "idempotency_key_reused"


class QueueFull(PlatformError):
    """429: the API's `max_queue_length` is reached."""

    default_kind = "queue_full"


class ConfigurationInvalid(PlatformError):
    """400: a configuration with problems. Nothing of it was deployed.

    Attributes:
        problems: one dict per problem, with `path`, `message`, and where they are known `line`, `column` and `api`.
    """

    default_kind = "configuration_invalid"
    problems: List[Dict[str, Any]]

    def __init__(self, message: str, *, problems: Optional[List[Dict[str, Any]]] = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.problems = problems or []


class VersionMismatch(PlatformError):
    """400: this package and the platform are of different major.minor versions."""

    default_kind = "version_mismatch"


class NotSupported(PlatformError):
    """400: this platform or engine cannot do what was asked."""

    default_kind = "not_supported"


class Unavailable(PlatformError):
    """503: the platform could not accept or answer now, and accepted nothing."""

    default_kind = "unavailable"


class ConnectionFailed(PlatformError):
    """Nothing answered, or the connection was lost before an answer came."""

    default_kind = "connection_failed"


class TimedOut(PlatformError):
    """An answer, or a deploy's replicas, took longer than allowed."""

    default_kind = "timed_out"


class DeployFailed(PlatformError):
    """An API could not be deployed, or its replicas do not get ready.

    Attributes:
        results: what the operator said of every API of the file.
    """

    default_kind = "container_failed"

    def __init__(self, message: str, *, results: Optional[List[Dict[str, Any]]] = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.results = results or []


class RequestFailed(CortexException):
    """A request ended as `failed`.

    Attributes:
        request_id: its id.
        kind: why, such as `container_status` or `timeout` (contract A3).
        message: the same for people.
        status_code: what the container answered, for `container_status`.
        body: the beginning of what it said with it.
        attempts: deliveries that counted.
    """

    def __init__(
        self,
        request_id: str,
        *,
        kind: str,
        message: str,
        status_code: Optional[int] = None,
        body: Optional[str] = None,
        attempts: Optional[int] = None,
    ) -> None:
        text = f"request {request_id} failed: {kind}: {message}"
        if body:
            text += f": {body if len(body) <= 500 else body[:500] + '…'}"
        super().__init__(text)
        self.request_id = request_id
        self.kind = kind
        self.message = message
        self.status_code = status_code
        self.body = body
        self.attempts = attempts


class RequestCancelled(CortexException):
    """A request was cancelled, so it has no result."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request {request_id} was cancelled")
        self.request_id = request_id


class ResultNotRepresentable(CortexException, ValueError):
    """A result is JSON that Python cannot hold: nested too deeply, or a number beyond all bounds. The request itself completed.

    Attributes:
        raw: the container's JSON, byte for byte.
    """

    def __init__(self, message: str, raw: bytes) -> None:
        super().__init__(message, raw)
        self.message = message
        self.raw = raw

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"ResultNotRepresentable({self.message!r})"


class ResultTimeout(CortexException, TimeoutError):
    """A request had not ended when the wait for its result was over. It goes on; ask again for the result.

    Attributes:
        request_id: its id.
        status: what it was doing then, `in_queue` or `in_progress`.
    """

    def __init__(self, request_id: str, status: str) -> None:
        super().__init__(f"request {request_id} is still {status}; ask again later, or wait longer")
        self.request_id = request_id
        self.status = status


_KINDS: Dict[str, Type[PlatformError]] = {
    each.default_kind: each
    for each in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        Conflict,
        PayloadTooLarge,
        IdempotencyKeyReused,
        QueueFull,
        ConfigurationInvalid,
        VersionMismatch,
        NotSupported,
        Unavailable,
        ConnectionFailed,
        TimedOut,
    )
}
_KINDS["method_not_allowed"] = BadRequest
_KINDS["store_unavailable"] = Unavailable
_KINDS["engine_unavailable"] = Unavailable
_KINDS["disk_low"] = Unavailable

_STATUSES: Dict[int, str] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "payload_too_large",
    422: "idempotency_key_reused",
    429: "queue_full",
    503: "unavailable",
    504: "timed_out",
}


def is_own_answer(document: Any) -> bool:
    """Whether an answer that is no success has the platform's own shape, or the original's, rather than a proxy's."""
    detail = document.get("error", document) if isinstance(document, Mapping) else None
    return isinstance(detail, Mapping) and isinstance(detail.get("kind"), str)


def platform_error(
    status: int, document: Mapping[str, Any], *, default: str, retry_after: Optional[float] = None
) -> PlatformError:
    """The error that an answer stands for: of our own shape `{"error": {…}}`, of the original's `{"kind", "message"}`, or of a stranger."""
    detail = document.get("error")
    if not isinstance(detail, Mapping):
        detail = document
    kind = detail.get("kind")
    message = detail.get("message")
    if not isinstance(kind, str) or not isinstance(message, str):
        kind, message = _STATUSES.get(status, "bad_request" if 400 <= status < 500 else "internal"), default
    error = _KINDS.get(kind, PlatformError)
    if error is ConfigurationInvalid:
        problems = detail.get("problems")
        return ConfigurationInvalid(
            message, problems=problems if isinstance(problems, list) else [], kind=kind, status=status
        )
    return error(message, kind=kind, status=status, retry_after=retry_after)
