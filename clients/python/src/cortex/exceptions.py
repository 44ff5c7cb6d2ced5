"""The errors of this package. `CortexException` is the base of all of them."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Type


class CortexException(Exception):
    """Base of every error of this package."""


class CortexBinaryException(CortexException):
    """The original package's error for every failure of its program.

    It is the base of `PlatformError`, so that existing handlers still work.
    """


class PlatformError(CortexBinaryException):
    """The platform refused a call, or could not be reached.

    Attributes:
        kind: the kind of error for programs, such as `queue_full`.
        message: what is wrong and what to do next, for people.
        status: the HTTP status; None if there was no answer.
        retry_after: seconds after which the call may be repeated, if the platform stated them.
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
    """400, 405: an invalid parameter, header or method."""

    default_kind = "bad_request"


class InvalidArgument(BadRequest, ValueError, TypeError):
    """An argument, a setting or an environment variable that cannot be used. Nothing was sent."""


class Unauthorized(PlatformError):
    """401: the operator's token is missing or wrong."""

    default_kind = "unauthorized"


class Forbidden(PlatformError):
    """403: the token does not allow this call; inside a container see `pod.operator_access`."""

    default_kind = "forbidden"


class NotFound(PlatformError):
    """404: no such environment, API, version or request; a request's result may have expired."""

    default_kind = "not_found"


class Conflict(PlatformError):
    """409: not possible in the current state, such as cancelling a request or stopping a job that has ended."""

    default_kind = "conflict"


class PayloadTooLarge(PlatformError):
    """413: over the API's `max_payload`."""

    default_kind = "payload_too_large"


class IdempotencyKeyReused(PlatformError):
    """422: this idempotency key belongs to another request."""

    default_kind = "idempotency_key_reused"


class QueueFull(PlatformError):
    """429, for a RealtimeAPI 503: the API's `max_queue_length` is reached."""

    default_kind = "queue_full"


class ConfigurationInvalid(PlatformError):
    """400: a configuration with problems. Nothing was deployed.

    Attributes:
        problems: one dict per problem, with `path`, `message`, and if known `line`, `column` and `api`.
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
    """400: this platform or engine does not support the call."""

    default_kind = "not_supported"


class Unavailable(PlatformError):
    """503: the platform could not accept or answer the call; nothing was accepted. For a RealtimeAPI also: no replica
    took the request in time, or there is none."""

    default_kind = "unavailable"


class ConnectionFailed(PlatformError):
    """Nothing answered, or the connection was lost before an answer arrived."""

    default_kind = "connection_failed"


class TimedOut(PlatformError):
    """An answer, or a deploy's replicas, took longer than allowed."""

    default_kind = "timed_out"


class DeployFailed(PlatformError):
    """An API could not be deployed, or its replicas do not become ready.

    Attributes:
        results: the operator's result for every API of the file.
    """

    default_kind = "container_failed"

    def __init__(self, message: str, *, results: Optional[List[Dict[str, Any]]] = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.results = results or []


class RequestFailed(CortexException):
    """A request ended as `failed`.

    Attributes:
        request_id: its id.
        kind: the reason, such as `container_status` or `timeout` (contract A3).
        message: the reason for people.
        status_code: the status of the container's answer, for `container_status`.
        body: the beginning of the body of that answer.
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


class CallFailed(CortexException):
    """The response of a call has another status than 2xx, and `raise_for_status` was called.

    Attributes:
        status: the status of the response.
        body: the beginning of its body.
    """

    def __init__(self, status: int, body: bytes) -> None:
        text = body[:500].decode(errors="replace")
        super().__init__(f"the response has status {status}{': ' if text else ''}{text}")
        self.status = status
        self.body = body


class RequestCancelled(CortexException):
    """A request was cancelled, so it has no result."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request {request_id} was cancelled")
        self.request_id = request_id


class ResultNotRepresentable(CortexException, ValueError):
    """A result is JSON that Python cannot represent: nested too deeply, or a number too large. The request completed.

    Also raised for the response of a call that is not JSON.

    Attributes:
        raw: the container's answer, byte for byte.
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
    """A request had not ended when the wait for its result was over. It continues; ask again for the result.

    Attributes:
        request_id: its id.
        status: its status at that time, `in_queue` or `in_progress`.
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
# Of a RealtimeAPI (contract R16).
_KINDS["queue_timeout"] = Unavailable
_KINDS["no_replica"] = Unavailable
_KINDS["timeout"] = TimedOut
_KINDS["method_not_implemented"] = BadRequest
# Of jobs (contract J1, J5, B1).
_KINDS["job_is_not_in_progress"] = Conflict
_KINDS["operation_is_only_supported_for_kind"] = NotSupported
_KINDS["specify_exactly_one_key"] = BadRequest
_KINDS["conflicting_fields"] = BadRequest
_KINDS["no_s3_files_found"] = BadRequest
_KINDS["query_param_required"] = BadRequest

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
    """Whether an error answer has the form of this platform or of the original, rather than a proxy's."""
    detail = document.get("error", document) if isinstance(document, Mapping) else None
    return isinstance(detail, Mapping) and isinstance(detail.get("kind"), str)


def platform_error(
    status: int, document: Mapping[str, Any], *, default: str, retry_after: Optional[float] = None
) -> PlatformError:
    """The error for an answer in the form of this platform, `{"error": {…}}`, of the original, or unknown."""
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
