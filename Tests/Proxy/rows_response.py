"""Rows: responses of containers, valid and hostile (R2, R4, R5, R6, R9, R16, R27)."""

from __future__ import annotations

from origin import CLOSE, FIN, RESET, ok
from row import HOST, Response, Row, Want, passes, relays, request

CHUNKED = b"Transfer-Encoding: chunked"
MALFORMED = Response(502, kind="container_malformed")
LOST = Response(502, kind="replica_lost")


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((status, *lines)) + b"\r\n\r\n"


def heads():
    for status in (b"200 OK", b"201 Created", b"202 Accepted", b"206 Partial Content", b"301 Moved", b"307 Temporary Redirect", b"400 Bad",
                   b"401 Unauthorized", b"404 Not Found", b"409 Conflict", b"413 Too Large", b"418 I'm a teapot", b"422 X", b"429 Slow down",
                   b"500 Oops", b"502 Bad Gateway", b"503 Unavailable", b"504 Timeout", b"299 Unassigned", b"599 Unassigned"):
        yield relays(f"status {status.decode()}", "R4", ok(b"b", status=status), Response(int(status[:3]), (b"Content-Length: 1",), b"b"))
    for name, lines in (
        ("order and case", [b"z-a: 1", b"A-z: 2", b"z-A: 3"]), ("Set-Cookie twice", [b"Set-Cookie: a=1; Path=/", b"Set-Cookie: b=2"]),
        ("empty value", [b"X-A: "]), ("UTF-8", ["X-A: é€😀".encode()]), ("Server and Location", [b"Server: mine/1", b"Location: /x?y#z"]),
        ("Content-Encoding", [b"Content-Encoding: gzip", b"Vary: *"]), ("CORS of the container", [b"Access-Control-Allow-Origin: http://x"]),
        ("ETag and Cache-Control", [b"ETag: W/\"1\"", b"Cache-Control: max-age=1"]), ("Retry-After", [b"Retry-After: 7"]),
        ("WWW-Authenticate twice", [b"WWW-Authenticate: Basic realm=\"a, b\"", b"WWW-Authenticate: Bearer"]),
        ("30,000 bytes", [b"X-A: " + b"v" * 30_000]), ("Proxy-Status of another proxy", [b"Proxy-Status: other; error=x"]),
        ("every character of a name", [b"!#$%&'*+-.^_`|~09azAZ: 1"]), ("Trailer", [b"Trailer: X-T"]),
    ):
        yield relays(f"response fields: {name}", "R4", ok(b"b", *lines), Response(200, (*lines, b"Content-Length: 1"), b"b"))
    yield relays("response fields: white space around values", "R4", ok(b"b", b"X-A: \t v \t", b"X-B:w"),
                 Response(200, (b"X-A: v", b"X-B: w", b"Content-Length: 1"), b"b"))
    for name, lines, kept in (
        ("Connection: close", [b"Connection: close"], []), ("Keep-Alive", [b"Connection: keep-alive", b"Keep-Alive: timeout=5"], []),
        ("Proxy-Connection", [b"Proxy-Connection: close"], []), ("Connection names a field", [b"Connection: X-Secret", b"X-Secret: 1", b"X-B: 2"], [b"X-B: 2"]),
    ):
        yield relays(f"hop-by-hop of the container: {name}", "R4, R5", ok(b"b", *lines), Response(200, (*kept, b"Content-Length: 1"), b"b"))
    for line in (b"X-Cortex-Request-ID: fake", b"X-Cortex-Origin: gateway", b"x-cortex-origin: activator", b"X-Cortex-Attempts: 9"):
        name, value = line.lower().split(b": ")
        yield relays(f"the container sets {line.decode()}", "R4", ok(b"b", line), Response(
            200, check=lambda got, name=name, value=value: f"the container's {name} passed: {value}"
            if value in got.values(name.decode()) else None))
    yield relays("response fields: Content-Length between others", "R4", head(b"X-A: 1", b"Content-Length: 1", b"X-B: 2") + b"b",
                 Response(200, (b"X-A: 1", b"Content-Length: 1", b"X-B: 2"), b"b"))
    yield relays("a length beside Transfer_Encoding of the container", "R27", ok(b"hello", b"Transfer_Encoding: chunked"),
                 Response(200, (b"Transfer_Encoding: chunked", b"Content-Length: 5"), b"hello", framing="length"))
    yield relays("Date of the container", "R4", ok(b"b", b"Date: Tue, 15 Nov 1994 08:12:31 GMT"), Response(200, check=one_date))
    yield relays("no Date", "R4", ok(b"b"), Response(200, check=one_date))
    yield relays("the reason phrase with UTF-8", "R4", ok(b"b", status="200 Ça va".encode()), Response(200, body=b"b"))
    yield relays("an empty reason phrase", "R4", ok(b"b", status=b"200 "), Response(200, body=b"b"))
    yield relays("256 fields of the container", "R16", ok(b"b", *[b"A: 1"] * 255), Response(200, body=b"b"))
    yield relays("a head of 60 KiB of the container", "R16", ok(b"b", *[b"A: " + b"v" * 6000] * 10), Response(200, body=b"b"))


def one_date(got):
    return None if len(got.values("Date")) == 1 else f"Date: {got.values('Date')}"


def framings():
    yield relays("length 0", "R5", ok(b""), Response(200, (b"Content-Length: 0",), b"", framing="length"))
    yield relays("chunks", "R5", head(CHUNKED) + b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", Response(200, (), b"hello!", framing="chunked"))
    yield relays("chunks with extensions", "R27", head(CHUNKED) + b"5;a=\"b\"\r\nhello\r\n0;x\r\n\r\n", Response(200, (), b"hello", framing="chunked"))
    yield relays("chunks with trailers", "R6", head(CHUNKED) + b"5\r\nhello\r\n0\r\nX-T: 1\r\nX-T: 2\r\n\r\n",
                 Response(200, (), b"hello", framing="chunked", trailers=(b"X-T: 1", b"X-T: 2")))
    # A parser may also refuse a length in the trailers of a chunked message.
    yield relays("trailer Content-Length: 5 of the container", "R6", head(CHUNKED) + b"1\r\na\r\n0\r\nContent-Length: 5\r\nX-T: 1\r\n\r\n",
                 Response(200, None, b"a", is_complete=None), fate="any")
    for line in (CHUNKED, b"Connection: close", b"X-Cortex-Request-ID: x", b"X-Cortex-Origin: gateway"):
        yield relays(f"trailer {line.decode()} of the container", "R6", head(CHUNKED) + b"1\r\na\r\n0\r\n" + line + b"\r\nX-T: 1\r\n\r\n",
                     Response(200, None, b"a", trailers=(b"X-T: 1",)))
    for name, value in (("Latin-1", b"\xe9"), ("a cut character", b"a\xe2\x82")):
        yield relays(f"trailer of the container with {name}", "R4, R6, R9", (head(CHUNKED) + b"1\r\na\r\n", 0.05, b"0\r\nX-T: " + value + b"\r\n\r\n"),
                     Response(200, (), is_complete=False), fate="closed")
    yield relays("trailer of the container with white space around it", "R4, R6", head(CHUNKED) + b"1\r\na\r\n0\r\nX-T:\t v \t\r\n\r\n",
                 Response(200, (), b"a", trailers=(b"X-T: v",)))
    yield relays("no chunk", "R5", head(CHUNKED) + b"0\r\n\r\n", Response(200, (), b"", framing="chunked"))
    yield relays("Chunked in other case", "R27", head(b"transfer-encoding: CHUNKED") + b"1\r\na\r\n0\r\n\r\n", Response(200, (), b"a"))
    yield relays("16 digits in a chunk size", "R27", head(CHUNKED) + b"0000000000000001\r\na\r\n0\r\n\r\n", Response(200, (), b"a"))
    yield relays("until the end of the connection", "R5", (head(), b"hello", 0.02, b" there", CLOSE), Response(200, (), b"hello there", framing="chunked"))
    yield relays("empty until the end", "R5", (head(), CLOSE), Response(200, (), b"", framing="chunked"))
    yield relays("HTTP/1.0 until the end", "R5", (head(status=b"HTTP/1.0 200 OK"), b"hello", CLOSE), Response(200, (), b"hello", framing="chunked"))
    yield relays("HTTP/1.0 with length", "R5", (head(b"Content-Length: 5", status=b"HTTP/1.0 200 OK"), b"hello", CLOSE),
                 Response(200, (b"Content-Length: 5",), b"hello"))
    old = {"line": b"GET /raw/r HTTP/1.0", "fate": "closed"}
    yield relays("HTTP/1.0 caller, chunks", "R5", head(CHUNKED) + b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
                 Response(200, None, b"hello", trailers=(), check=no_chunks), **old)
    yield relays("HTTP/1.0 caller, until the end", "R5", (head(), b"hello", CLOSE), Response(200, None, b"hello", check=no_chunks), **old)
    yield relays("HTTP/1.0 caller, length", "R5", ok(b"hello"), Response(200, (b"Content-Length: 5",), b"hello"), **old)
    yield relays("HTTP/1.0 caller, 103", "R5", head(b"Link: a", status=b"HTTP/1.1 103 Early Hints") + ok(b"hello"),
                 Response(200, None, b"hello", interim=()), **old)
    yield relays("HEAD keeps the length", "R2", head(b"Content-Length: 1000"), Response(200, (b"Content-Length: 1000",), b""), line=b"HEAD /raw/r HTTP/1.1")
    yield relays("HEAD with chunks", "R2", head(CHUNKED), Response(200, (), b""), line=b"HEAD /raw/r HTTP/1.1")
    yield relays("HEAD without framing", "R2", head(b"X-A: 1"), Response(200, (b"X-A: 1",), b""), line=b"HEAD /raw/r HTTP/1.1")
    yield relays("HEAD with an error", "R2", ok(b"", status=b"404 Not Found"), Response(404, None, b""), line=b"HEAD /raw/r HTTP/1.1")
    yield relays("HEAD answered with a body", "R2, R9", ok(b"body"), Response(200, (b"Content-Length: 4",), b""), line=b"HEAD /raw/r HTTP/1.1")
    yield relays("204", "R2", head(status=b"HTTP/1.1 204 No Content"), Response(204, (), b"", framing="none"))
    yield relays("204 with length 0", "R2", head(b"Content-Length: 0", status=b"HTTP/1.1 204 No Content"), Response(204, None, b""))
    yield relays("204 with bytes after it", "R2, R9", head(status=b"HTTP/1.1 204 No Content") + b"extra", Response(204, None, b""))
    yield relays("205 without body", "R2", head(b"Content-Length: 0", status=b"HTTP/1.1 205 Reset Content"), Response(205, None, b""))
    yield relays("304 keeps the length", "R2", head(b"Content-Length: 1000", b"ETag: x", status=b"HTTP/1.1 304 Not Modified"),
                 Response(304, (b"Content-Length: 1000", b"ETag: x"), b""))
    yield relays("304 without length", "R2", head(status=b"HTTP/1.1 304 Not Modified"), Response(304, (), b""))
    yield relays("304 with bytes after it", "R9", head(status=b"HTTP/1.1 304 Not Modified") + b"extra", Response(304, (), b""))
    yield relays("a response of one byte a segment", "R5", tuple(bytes([byte]) for byte in head(CHUNKED) + b"2\r\nhi\r\n0\r\n\r\n"), Response(200, (), b"hi"))
    yield relays("1 MiB", "R5", ok(b"m" * 1048576), Response(200, (b"Content-Length: 1048576",), b"m" * 1048576))
    yield relays("more bytes than the length", "R9", head(b"Content-Length: 5") + b"helloMORE", Response(200, (b"Content-Length: 5",), b"hello"))
    yield relays("a second response after the first", "R9, R27", ok(b"one") + ok(b"two"), Response(200, None, b"one"))
    yield relays("a request after the response", "R9", ok(b"one") + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", Response(200, None, b"one"))
    yield relays("bytes after the last chunk", "R9", head(CHUNKED) + b"1\r\na\r\n0\r\n\r\nMORE", Response(200, (), b"a"))
    yield Row("the second caller does not get the bytes that were too many", "R9, R27", (request(b"GET /raw/1 HTTP/1.1"), 0.05, request(b"GET /raw/2 HTTP/1.1")),
              (Want(b"/1"), Want(b"/2")), (Response(200, body=b"one"), Response(200, body=b"three")), "open",
              play=((ok(b"one") + ok(b"two"),), (ok(b"three"),)), methods=(b"GET", b"GET"))
    for name, more in (("a second response", ok(b"two")), ("garbage", b"garbage"), ("half a head", b"HTTP/1.1 200 OK\r\nX-A: ")):
        yield Row(f"pipelined requests, and {name} in the segment of the first response", "R9, R27",
                  (request(b"GET /raw/1 HTTP/1.1") + request(b"GET /raw/2 HTTP/1.1"),), (Want(b"/1"), Want(b"/2")),
                  (Response(200, body=b"one"), Response(200, body=b"three")), "open", play=((ok(b"one") + more,), (ok(b"three"),)),
                  methods=(b"GET", b"GET"))
    for kind in (CLOSE, FIN, RESET):
        yield Row(f"the container ends the connection after a response: {kind}", "R15", (request(b"GET /raw/1 HTTP/1.1"), 0.05, request(b"GET /raw/2 HTTP/1.1")),
                  (Want(b"/1"), Want(b"/2")), (Response(), Response(200, body=b"two")), "open", play=((ok(), kind), (ok(b"two"),)),
                  methods=(b"GET", b"GET"))


def no_chunks(got):
    return "chunks for HTTP/1.0" if got.values("Transfer-Encoding") else None


def interim():
    hint = head(b"Link: </a>; rel=preload", status=b"HTTP/1.1 103 Early Hints")
    yield relays("103", "R6", hint + ok(b"x"), Response(200, body=b"x", interim=(103,)))
    yield relays("103 at once", "R6", (hint, 0.05, ok(b"x")), Response(200, body=b"x", interim=(103,)))
    yield relays("102 and several 103", "R6", head(status=b"HTTP/1.1 102 Processing") + hint * 3 + ok(b"x"),
                 Response(200, body=b"x", interim=(102, 103, 103, 103)))
    yield relays("103 before HEAD", "R6", hint + head(b"Content-Length: 9"), Response(200, body=b"", interim=(103,)), line=b"HEAD /raw/r HTTP/1.1")
    yield relays("103 before 204", "R6", hint + head(status=b"HTTP/1.1 204 No Content"), Response(204, interim=(103,)))
    yield relays("103 before 304", "R6", hint + head(status=b"HTTP/1.1 304 Not Modified"), Response(304, interim=(103,)))
    yield relays("a 100 that was not asked for", "R6", head(status=b"HTTP/1.1 100 Continue") + ok(b"x"), Response(200, body=b"x"))
    yield relays("199", "R6", head(status=b"HTTP/1.1 199 Own") + ok(b"x"), Response(200, body=b"x"))
    for name, lines in (("Connection: close", [b"Connection: close"]), ("Connection: x-a, Close", [b"X-A: 1", b"Connection: x-a, Close"]),
                        ("Proxy-Connection: close", [b"Proxy-Connection: close"])):
        closing = head(b"Link: a", *lines, status=b"HTTP/1.1 103 Early Hints")
        yield relays(f"103 with {name}", "R6", closing + hint + ok(b"x"), Response(200, body=b"x", interim=(103, 103)))
        yield relays(f"103 with {name}, one byte a segment", "R6", tuple(bytes([byte]) for byte in closing + ok(b"x")),
                     Response(200, body=b"x", interim=(103,)))
    yield relays("103 with Latin-1 in a value", "R4", head(b"Link: \xe9", status=b"HTTP/1.1 103 Early Hints") + ok(b"x"), MALFORMED)
    yield relays("1000 interim responses", "R6", hint * 1000 + ok(b"x"), Response({200, 502}), fate="any")
    yield relays("103, then the end", "R16", (hint, CLOSE), Response(502), fate="any")
    yield relays("103, then garbage", "R27", hint + b"garbage\r\n\r\n", Response(502), fate="any")
    yield relays("101 that was not asked for", "R14", head(b"Upgrade: x", b"Connection: upgrade", status=b"HTTP/1.1 101 Switching Protocols") + b"tunnel", MALFORMED)
    yield relays("101 without fields", "R14", head(status=b"HTTP/1.1 101 Switching Protocols"), MALFORMED)
    yield relays("101 after an offered h2c", "R14", head(b"Upgrade: h2c", b"Connection: upgrade", status=b"HTTP/1.1 101 Switching Protocols"),
                 MALFORMED, lines=(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"), fate="any")


def malformed_heads():
    body = b"Content-Length: 2\r\n\r\nok"
    for name, data in (
        ("no HTTP", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), ("HTTP/2", b"HTTP/2 200 OK\r\n" + body), ("HTTP/2.0", b"HTTP/2.0 200 OK\r\n" + body),
        ("HTTP/1.2", b"HTTP/1.2 200 OK\r\n" + body), ("HTTP/0.9", b"HTTP/0.9 200 OK\r\n" + body), ("ICY", b"ICY 200 OK\r\n" + body),
        ("lower-case http", b"http/1.1 200 OK\r\n" + body), ("two digits", b"HTTP/1.1 20 OK\r\n" + body), ("four digits", b"HTTP/1.1 2000 OK\r\n" + body),
        ("status 099", b"HTTP/1.1 099 X\r\n" + body), ("status 000", b"HTTP/1.1 000 X\r\n" + body), ("letters", b"HTTP/1.1 abc OK\r\n" + body),
        ("a sign", b"HTTP/1.1 +20 OK\r\n" + body), ("no status", b"HTTP/1.1\r\n" + body), ("only bytes", b"\x00\x01\x02\x03\xff\r\n\r\n"),
        ("a request", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"), ("HTML", b"<html><body>hi</body></html>\r\n\r\n"),
        ("bare CR in the status line", b"HTTP/1.1 200 O\rK\r\n" + body), ("bare LF after the status line", b"HTTP/1.1 200 OK\n" + body),
        ("bare LF after a field", b"HTTP/1.1 200 OK\r\nX-A: 1\n" + body), ("bare LF everywhere", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
        ("bare LF at the end of the head", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok"), ("a folded line", b"HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\n" + body),
        ("a folded line with tab", b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\t2\r\n" + body), ("space before the colon", b"HTTP/1.1 200 OK\r\nX-A : 1\r\n" + body),
        ("space before the colon of the length", b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"), ("no colon", b"HTTP/1.1 200 OK\r\nX-A\r\n" + body),
        ("an empty name", b"HTTP/1.1 200 OK\r\n: 1\r\n" + body), ("a name with space", b"HTTP/1.1 200 OK\r\nX A: 1\r\n" + body),
        ("a name outside ASCII", "HTTP/1.1 200 OK\r\né: 1\r\n".encode() + body), ("NUL in a value", b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\n" + body),
        ("bare CR in a value", b"HTTP/1.1 200 OK\r\nX-A: a\rb\r\n" + body), ("Latin-1 in a value", b"HTTP/1.1 200 OK\r\nX-A: \xe9\r\n" + body),
        ("a control character in a value", b"HTTP/1.1 200 OK\r\nX-A: a\x01b\r\n" + body),
        ("257 fields", ok(b"b", *[b"A: 1"] * 256)), ("a head of 70 KiB", ok(b"b", b"X-A: " + b"v" * 70_000)), ("an endless head", b"HTTP/1.1 200 OK\r\n" + b"A: 1\r\n" * 40_000),
        ("an endless status line", b"HTTP/1.1 200 " + b"O" * 200_000),
        ("two lengths", head(b"Content-Length: 2", b"Content-Length: 3") + b"ok"), ("two equal lengths", head(b"Content-Length: 2", b"Content-Length: 2") + b"ok"),
        ("two lengths in one field", head(b"Content-Length: 2, 2") + b"ok"), ("length +2", head(b"Content-Length: +2") + b"ok"),
        ("length -2", head(b"Content-Length: -2") + b"ok"), ("length 0x2", head(b"Content-Length: 0x2") + b"ok"), ("an empty length", head(b"Content-Length:") + b"ok"),
        ("a length of words", head(b"Content-Length: two") + b"ok"), ("length 2^64", head(b"Content-Length: 18446744073709551616") + b"ok"),
        ("length and chunked", head(b"Content-Length: 2", CHUNKED) + b"2\r\nok\r\n0\r\n\r\n"), ("chunked and length", head(CHUNKED, b"Content-Length: 2") + b"2\r\nok\r\n0\r\n\r\n"),
        ("gzip, chunked", head(b"Transfer-Encoding: gzip, chunked") + b"2\r\nok\r\n0\r\n\r\n"), ("chunked, chunked", head(b"Transfer-Encoding: chunked, chunked") + b"2\r\nok\r\n0\r\n\r\n"),
        ("chunked twice", head(CHUNKED, CHUNKED) + b"2\r\nok\r\n0\r\n\r\n"), ("xchunked", head(b"Transfer-Encoding: xchunked") + b"2\r\nok\r\n0\r\n\r\n"),
        ("identity", head(b"Transfer-Encoding: identity") + b"ok"), ("gzip", head(b"Transfer-Encoding: gzip") + b"ok"), ("chunked, gzip", head(b"Transfer-Encoding: chunked, gzip") + b"ok"),
        ("an empty coding", head(b"Transfer-Encoding:") + b"ok"),
        ("chunked in HTTP/1.0", head(CHUNKED, status=b"HTTP/1.0 200 OK") + b"2\r\nok\r\n0\r\n\r\n"),
        ("204 with chunks", head(CHUNKED, status=b"HTTP/1.1 204 No Content") + b"0\r\n\r\n"),
    ):
        allowed = Response({204, 502}) if name.startswith("204") else MALFORMED
        yield relays(f"malformed response: {name}", "R27", (data, CLOSE), allowed)
    for name, data in (("no reason phrase", b"HTTP/1.1 200\r\n" + body), ("two spaces before the status", b"HTTP/1.1  200 OK\r\n" + body),
                       ("a tab before the status", b"HTTP/1.1\t200 OK\r\n" + body), ("status 600", b"HTTP/1.1 600 X\r\n" + body),
                       ("NUL in the reason phrase", b"HTTP/1.1 200 O\x00K\r\n" + body), ("status 999", b"HTTP/1.1 999 X\r\n" + body), ("an empty line first", b"\r\nHTTP/1.1 200 OK\r\n" + body),
                       ("U+FFFD in a value", "HTTP/1.1 200 OK\r\nX-A: \ufffd\r\n".encode() + body), ("length 02", head(b"Content-Length: 02") + b"ok"),
                       ("chunked with a comma", head(b"Transfer-Encoding: chunked,") + b"2\r\nok\r\n0\r\n\r\n")):
        yield relays(f"tolerable response: {name}", "R27", (data, CLOSE), Response({200, 502, 600, 999}), fate="any")


def ends():
    """The container closes, resets or is malformed in every state of the framing (R9, R16)."""
    whole = head(b"Content-Length: 5") + b"hello"
    for kind in (CLOSE, RESET):
        yield relays(f"no byte of a response, then {kind}", "R16", (kind,), LOST)
        for at in (1, 5, 9, 12, 15, 17, 30, len(whole) - 7):
            yield relays(f"{at} bytes of a head, then {kind}", "R16", (whole[:at], 0.01, kind), Response(502, kind=None))
        cut = Response(200, (b"Content-Length: 5",), is_complete=False)
        for at in (len(whole) - 5, len(whole) - 4, len(whole) - 1):
            yield relays(f"{at} of {len(whole)} bytes, then {kind}", "R9", (whole[:at], 0.03, kind), cut, fate="closed")
        chunks = head(CHUNKED) + b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"
        start = len(head(CHUNKED))
        for at in (*range(start, start + 15), start + 19, start + 21, len(chunks) - 1):
            yield relays(f"chunks: {at - start} bytes of the body, then {kind}", "R9", (chunks[:at], 0.02, kind), Response(200, (), is_complete=False), fate="closed")
    yield relays("until the end, then reset", "R9", (head(), b"hello", 0.03, RESET), Response(200, (), is_complete=False), fate="closed")
    for name, data in (
        ("no size", b"Z\r\nhello\r\n0\r\n\r\n"), ("17 digits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("17 digits with leading zeros", b"00000000000000005\r\nhello\r\n0\r\n\r\n"), ("2^63", b"8000000000000000\r\nhello"), ("16 F", b"FFFFFFFFFFFFFFFF\r\nhello"),
        ("bare LF after the size", b"5\nhello\r\n0\r\n\r\n"), ("bare LF after the data", b"5\r\nhello\n0\r\n\r\n"), ("more data than the size", b"4\r\nhello\r\n0\r\n\r\n"),
        ("bare LF at the end", b"5\r\nhello\r\n0\r\n\n"), ("a negative size", b"-5\r\nhello\r\n0\r\n\r\n"), ("0x5", b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("a folded trailer", b"5\r\nhello\r\n0\r\nX-T: 1\r\n 2\r\n\r\n"), ("a trailer without colon", b"5\r\nhello\r\n0\r\nX-T\r\n\r\n"), ("NUL in a trailer", b"5\r\nhello\r\n0\r\nX-T: \x00\r\n\r\n"),
    ):
        # A fault in the first segment may be seen before the head was sent on.
        yield relays(f"malformed chunks of the container: {name}", "R9, R27", (head(CHUNKED), 0.05, data, CLOSE), Response(200, (), is_complete=False), fate="closed")
    yield passes("a container that ends its output after a response with Connection: close", "R5", request(b"GET /raw/r HTTP/1.1"), Want(b"/r", (HOST,)),
                 play=((ok(b"ok", b"Connection: close"), FIN),))


def rows():
    for group in (heads, framings, interim, malformed_heads, ends):
        yield from group()
