"""Rows: targets (R1), methods (R2), versions and fields of the request head (R3, R27)."""

from __future__ import annotations

from row import HALF, HOST, Bytewise, Response, Row, Want, get, lenient, passes, post, refused, request

PREFIX = b"/raw"


def targets():
    forwarded = [
        (b"/raw", b"/"), (b"/raw/", b"/"), (b"/raw?q=1", b"/?q=1"), (b"/raw/?q=1", b"/?q=1"), (b"/raw?", b"/?"),
        (b"/raw/a//b/../c;x=%2F?q=1&q", b"/a//b/../c;x=%2F?q=1&q"), (b"/raw//", b"//"), (b"/raw//a", b"//a"),
        (b"/raw/..", b"/.."), (b"/raw/../x", b"/../x"), (b"/raw/./x/.", b"/./x/."), (b"/raw/a/", b"/a/"),
        (b"/raw/%2e%2e/x", b"/%2e%2e/x"), (b"/raw/a%2Fb%2fc", b"/a%2Fb%2fc"), (b"/raw/%00", b"/%00"),
        (b"/raw/%zz%", b"/%zz%"), (b"/raw/%C3%A9", b"/%C3%A9"), (b"/raw/a?b?c?", b"/a?b?c?"), (b"/raw/;", b"/;"),
        (b"/raw/a;b=c;d", b"/a;b=c;d"), (b"/raw/a:b@c", b"/a:b@c"), (b"/raw/!$&'()*+,=~_-.", b"/!$&'()*+,=~_-."),
        (b"/raw/\"<>\\^`{|}", b"/\"<>\\^`{|}"), (b"/raw/[1]", b"/[1]"), (b"/raw/raw", b"/raw"),
        (b"/raw?//x/../y", b"/?//x/../y"), (b"/raw/a?q=%20+%00", b"/a?q=%20+%00"), (b"/raw/http://x/", b"/http://x/"),
        (b"/raw/" + b"a/" * 2000, b"/" + b"a/" * 2000), (b"/raw/" + b"%41" * 3000, b"/" + b"%41" * 3000),
    ]
    for sent, received in forwarded:
        name = sent.decode() if len(sent) < 60 else f"{sent[:12].decode()}… of {len(sent)} bytes"
        yield passes(f"target {name}", "R1", get(sent), Want(received))
    yield passes("target with the endpoint percent-encoded", "R1", get(b"/%72aw/a"), Want(b"/a"))
    yield passes("absolute form", "R1", get(b"http://h/raw/a//b?x"), Want(b"/a//b?x"))
    yield passes("absolute form without path below", "R1", get(b"http://h/raw"), Want(b"/"))
    yield passes("absolute form with query only", "R1", get(b"http://h/raw?x"), Want(b"/?x"))
    yield passes("absolute form, upper-case scheme, port", "R1", get(b"HTTP://h:80/raw/a"), Want(b"/a", None))
    yield passes("absolute form of https", "R1", get(b"https://h/raw/a"), Want(b"/a"))
    # A proxy may take the host of the target (RFC 9112 3.2.2).
    yield passes("absolute form of another host", "R1", get(b"http://other/raw/a"), Want(b"/a", None))
    limit = 16 * 1024
    longest = PREFIX + b"/" + b"a" * (limit - 5)
    yield passes("target of 16 KiB", "R1", get(longest), Want(longest[4:]))
    yield refused("target of 16 KiB and 1", "R1", get(longest + b"a"), 414)
    yield refused("target of 60 KiB", "R1", get(PREFIX + b"/" + b"a" * 60_000), {414, 431})
    for target in (b"/rawx", b"/ra", b"/RAW", b"/", b"//raw/a", b"/raw%2Fa", b"/nothing/raw", b"/raw;x"):
        yield refused(f"no API at {target.decode()}", "R1", get(target), 404, "not_found", "open")
    yield refused("no API in absolute form without path", "R1", get(b"http://h"), {400, 404}, None, "any")
    for target in (b"raw/a", b"ftp://h/raw", b"http:///raw", b"http://h:x/raw", b"http://u@h/raw", b"*", b"?x", b""):
        yield refused(f"target {target.decode() or 'empty'}", "R1", get(target), {400, 404}, None, "any")
    # Answered by the server itself, for no API.
    yield Row("OPTIONS *", "R1", (request(b"OPTIONS * HTTP/1.1"),), (), None, "any", methods=(b"OPTIONS",), seconds=1)
    yield refused("target with a fragment", "R1", get(b"/raw/a#b"), 400)
    for byte in (0x00, 0x01, 0x09, 0x0B, 0x0C, 0x1F, 0x20, 0x7F, 0x80, 0xA0, 0xFF):
        yield refused(f"target with byte 0x{byte:02X}", "R1", get(b"/raw/a" + bytes([byte]) + b"b"), 400)
        if byte >= 0x80:
            yield refused(f"query with byte 0x{byte:02X}", "R1", get(b"/raw?a" + bytes([byte])), 400)
    yield refused("target with UTF-8", "R1", get("/raw/é".encode()), 400)
    yield refused("target with CR", "R1", get(b"/raw/a\rb"), 400)
    yield refused("target with LF", "R1", get(b"/raw/a\nb"), 400)


METHODS = (
    b"GET POST PUT PATCH DELETE OPTIONS QUERY PROPFIND PROPPATCH REPORT MKCOL COPY MOVE LOCK UNLOCK SEARCH ACL BIND "
    b"UNBIND REBIND CHECKOUT MERGE MKACTIVITY MKCALENDAR LINK UNLINK PURGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE").split()


def methods():
    for method in METHODS:
        line = method + b" /raw/m HTTP/1.1"
        yield passes(f"{method.decode()}", "R2", request(line), Want(b"/m", method=method, framing="none"))
        yield passes(
            f"{method.decode()} with body", "R2", request(line, b"Content-Length: 3", body=b"abc"),
            Want(b"/m", (HOST, b"Content-Length: 3"), method, b"abc"))
    yield passes("HEAD", "R2", request(b"HEAD /raw/m HTTP/1.1"), Want(b"/m", method=b"HEAD"),
                 got=Response(200, (b"Content-Length: 2",), b""))
    for method in (b"CONNECT", b"TRACE"):
        check = allow_check
        for target in (b"/raw/m", b"h:80", b"*"):
            row = refused(f"{method.decode()} {target.decode()}", "R2", request(method + b" " + target + b" HTTP/1.1"),
                          405 if target == b"/raw/m" else {400, 404, 405}, None, "any")
            yield Row(row.name, row.clause, row.send, (), (Response(row.got[0].status, check=check),), "any",
                      methods=(b"GET",))
    for method in (b"FOO", b"GETT", b"GE", b"BREW", b"X", b"A" * 300, b"GET-", b"get", b"Get", b"POSTED", b"M_SEARCH"):
        name = method.decode() if len(method) < 20 else f"method of {len(method)} letters"
        allowed = 501 if method.isupper() and len(method) < 20 and method.isalpha() else {400, 501}
        yield refused(f"unknown method {name}", "R2", request(method + b" /raw/m HTTP/1.1"), allowed,
                      "method_not_implemented" if allowed == 501 else None)
    yield refused("unknown method outside of every API", "R2", request(b"FOO /none HTTP/1.1"), 501)
    yield refused("unknown method, then a request", "R2, R27", request(b"FOO /raw/m HTTP/1.1") + get(b"/raw/second"), 501)
    for line in (b"G@T /raw/m HTTP/1.1", b"G\tT /raw/m HTTP/1.1", b"\xc3\xa9 /raw/m HTTP/1.1", b"(GET) /raw/m HTTP/1.1"):
        yield refused(f"method {line!r}", "R2", request(line), {400, 501})


def has_one_host(message):
    """The container gets HTTP/1.1, where Host is required."""
    found = message.values("Host")
    return None if len(found) == 1 else f"the container received Host: {found}"


def allow_check(got):
    if got.status == 405 and not got.value("Allow"):
        return "405 without Allow"
    return None


def versions():
    yield passes("HTTP/1.0", "R5", request(b"GET /raw/v HTTP/1.0"), Want(b"/v"), fate="closed")
    yield passes("HTTP/1.0 without Host", "R3", request(b"GET /raw/v HTTP/1.0", host=None),
                 Want(b"/v", None, check=has_one_host), fate="closed")
    yield passes("HTTP/1.0 with Connection: keep-alive", "R5",
                 request(b"GET /raw/v HTTP/1.0", b"Connection: keep-alive"), Want(b"/v"), fate="any")
    yield passes("HTTP/1.0 with Connection: close", "R5", request(b"GET /raw/v HTTP/1.0", b"Connection: close"),
                 Want(b"/v"), fate="closed")
    yield passes("HTTP/1.0 POST with length", "R5",
                 request(b"POST /raw/v HTTP/1.0", b"Content-Length: 2", body=b"ab"),
                 Want(b"/v", (HOST, b"Content-Length: 2"), b"POST", b"ab"), fate="closed")
    yield passes("HTTP/1.1 with Connection: close", "R5", get(b"/raw/v", b"Connection: close"), Want(b"/v"),
                 fate="closed")
    yield refused("HTTP/0.9", "R27", b"GET /raw/v\r\n\r\n", {400, 505})
    yield refused("HTTP/0.9 with LF", "R27", b"GET /raw/v\n\n", {400, 505})
    for version in (b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/0.9", b"HTTP/9.9"):
        yield refused(f"version {version.decode()}", "R27", request(b"GET /raw/v " + version), 505)
    for version in (
        b"HTTP/1", b"HTTP/1.", b"HTTP/1.10", b"HTTP/11.1", b"HTTP/01.1", b"http/1.1", b"HTTP/ 1.1", b"HTTP /1.1",
        b"HTTPS/1.1", b"HTTP/1.1 ", b"HTTP/1.1\t", b"HTTP/1,1", b"HTTP/A.B", b"ICY/1.0", b"RTSP/1.0", b"HTTP/-1.1",
        b"HTTP/1.1.1", b"HTTP/1.1x", b"FTP", b"HTTP/1.1 HTTP/1.1",
    ):
        yield refused(f"version {version.decode()!r}", "R27", request(b"GET /raw/v " + version), {400, 505})
    for line in (
        b"GET  /raw/v HTTP/1.1", b"GET /raw/v  HTTP/1.1", b"GET\t/raw/v HTTP/1.1", b"GET /raw/v\tHTTP/1.1",
        b" GET /raw/v HTTP/1.1", b"GET /raw/v", b"GET", b"GET ", b"GET /raw/v x HTTP/1.1", b"/raw/v HTTP/1.1", b"\x00",
        b"GET /raw/v\x00 HTTP/1.1", b"GET\x0b/raw/v HTTP/1.1", b"GET\xa0/raw/v\xa0HTTP/1.1",
    ):
        yield refused(f"request line {line!r}", "R27", request(line), {400, 501, 505})
    yield refused("the preface of HTTP/2", "R27", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 501, 505})
    yield refused("a TLS hello", "R27", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x11" * 60 + b"\r\n\r\n",
                  {400, 501, 505})
    yield refused("garbage", "R27", b"\xde\xad\xbe\xef\r\n\r\n", {400, 501, 505})
    yield refused("a response as request", "R27", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", {400, 501, 505})
    yield passes("an empty line before the request", "R27", b"\r\n" + get(b"/raw/v"), Want(b"/v"))
    yield passes("three empty lines before the request", "R27", b"\r\n\r\n\r\n" + get(b"/raw/v"), Want(b"/v"))
    for name, data in (("bare LF", b"\n"), ("bare CR", b"\r"), ("CR CR LF", b"\r\r\n"), ("LF after an empty line", b"\r\n\n")):
        yield refused(f"{name} before the request", "R27", data + get(b"/raw/v"), 400)
        yield passes(f"{name} before the second request", "R27", get(b"/raw/u") + data + get(b"/raw/v"), Want(b"/u"),
                     got=(Response(), Response(400)), methods=(b"GET", b"GET"), fate="closed")
    yield passes("one byte a segment", "R27", Bytewise(get(b"/raw/v", b"X-A: 1")), Want(b"/v", (HOST, b"X-A: 1")))
    yield passes("three bytes a segment, with body", "R27", Bytewise(post(b"/raw/v", b"Content-Length: 5", body=b"hello"), 3),
                 Want(b"/v", (HOST, b"Content-Length: 5"), b"POST", b"hello"))


def values():
    """Fields that pass unchanged."""
    lists = [
        ("case of names", [b"x-lower: 1", b"X-UPPER: 2", b"x-MiXeD: 3"]),
        ("order", [b"Z: 1", b"A: 2", b"M: 3"]),
        ("duplicates", [b"X-A: 1", b"X-B: 2", b"X-A: 3", b"x-a: 4"]),
        ("equal duplicates", [b"X-A: 1", b"X-A: 1"]),
        ("no white space", [b"X-A:1"]),
        ("inner white space", [b"X-A: a \t b"]),
        ("quotes and colons", [b"X-A: \"a:b\", 'c'; d=\"e\\\"\""]),
        ("empty value", [b"X-A:"]),
        ("only commas", [b"X-A: ,,,"]),
        ("UTF-8", ["X-A: é€😀".encode()]),
        ("every character of a name", [b"!#$%&'*+-.^_`|~09azAZ: 1"]),
        ("underscores", [b"X_A_B: 1", b"Content_Length: 5", b"Transfer_Encoding: chunked"]),
        ("a name of 1000 bytes", [b"X-" + b"n" * 998 + b": 1"]),
        ("a value of 30,000 bytes", [b"X-A: " + b"v" * 30_000]),
        ("Authorization", [b"Authorization: Bearer x.y.z", b"Proxy-Authenticate: kept"]),
        ("cookies in two lines", [b"Cookie: a=1; b=2", b"Cookie: c=\"3\""]),
        ("Accept-Encoding", [b"Accept-Encoding: gzip;q=1.0, identity; q=0.5, *;q=0"]),
        ("tracing", [b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"tracestate: a=b,c=d",
                     b"baggage: k=v"]),
        ("caching and ranges", [b"If-None-Match: W/\"x\"", b"Range: bytes=0-1", b"Cache-Control: no-cache", b"Pragma: x"]),
        ("names that begin like the platform's", [b"X-Cortexy: 1", b"X-Corte: 2", b"X-Request: 3", b"X-Forwarded: 4"]),
        ("a probe's User-Agent", [b"User-Agent: kube-probe/1.27"]),
        ("Content fields without body", [b"Content-Type: text/plain", b"Content-Encoding: gzip"]),
        ("Origin and preflight fields", [b"Origin: http://elsewhere", b"Access-Control-Request-Method: PUT"]),
        ("Date and Age", [b"Date: Tue, 15 Nov 1994 08:12:31 GMT", b"Age: x"]),
        ("Max-Forwards", [b"Max-Forwards: 0"]),
        ("From and Referer", [b"From: a@b", b"Referer: http://x/#y"]),
    ]
    for name, lines in lists:
        yield passes(f"fields: {name}", "R3", get(b"/raw/f", *lines), Want(b"/f", (HOST, *lines)))
    trimmed = [(b"X-A:   1", b"X-A: 1"), (b"X-A: 1  ", b"X-A: 1"), (b"X-A:\t1\t ", b"X-A: 1"), (b"X-A: 1\t", b"X-A: 1"), (b"X-A:  ", b"X-A:")]
    for sent, received in trimmed:
        yield passes(f"white space around a value: {sent!r}", "R3", get(b"/raw/f", sent), Want(b"/f", (HOST, received)))
    for host in (b"Host: h", b"host: H:8080", b"HOST: [::1]:80", b"Host: xn--bcher-kva.example", b"Host: 127.0.0.1", b"Host:"):
        yield passes(f"{host.decode()}", "R3", request(b"GET /raw/f HTTP/1.1", host=host), Want(b"/f", (host,)))
    yield passes("Host last", "R3", request(b"GET /raw/f HTTP/1.1", b"A: 1", b"Host: h", host=None),
                 Want(b"/f", (b"A: 1", b"Host: h")))
    many = [b"X-%d: %d" % (index, index) for index in range(255)]
    yield passes("256 fields", "R1", get(b"/raw/f", *many), Want(b"/f", (HOST, *many)))
    yield refused("257 fields", "R1", get(b"/raw/f", *many, b"X-Last: 1"), 431)
    yield refused("1000 fields", "R1", get(b"/raw/f", *[b"A: 1"] * 1000), 431)
    big = [b"X-%d: " % index + b"v" * 6000 for index in range(10)]
    yield passes("a head of 60 KiB", "R1", get(b"/raw/f", *big), Want(b"/f", (HOST, *big)))
    yield refused("a head of 66 KiB", "R1", get(b"/raw/f", *big, b"X-Last: " + b"v" * 7000), 431)
    yield refused("a value of 70 KiB", "R1", get(b"/raw/f", b"X-A: " + b"v" * 70_000), 431)
    yield refused("a name of 70 KiB", "R1", get(b"/raw/f", b"X" * 70_000 + b": 1"), 431)
    yield refused("an endless head", "R1", b"GET /raw/f HTTP/1.1\r\nHost: h\r\nX-A: " + b"v" * 300_000, 431)


def names_field(name: bytes):
    """The message of the error names the field."""
    return lambda got: None if name.lower() in got.body.lower() else f"the message does not name {name!r}: {got.body!r}"


def malformed_fields():
    for name, value in (
        ("Latin-1", b"caf\xe9"), ("a lone continuation byte", b"\x80"), ("an overlong form", b"\xc0\x80"),
        ("a surrogate", b"\xed\xa0\x80"), ("a cut sequence", b"a\xe2\x82"), ("0xFF", b"\xff"),
        ("over U+10FFFF", b"\xf4\x90\x80\x80"),
    ):
        yield Row(f"value with {name}", "R3", (get(b"/raw/f", b"X-Named: " + value),), (),
                  (Response(400, check=names_field(b"X-Named")),), "any")
    yield refused("Authorization with Latin-1", "R3", get(b"/raw/f", b"Authorization: Basic \xe9"), 400, fate="any")
    yield refused("Host with Latin-1", "R3", request(b"GET /raw/f HTTP/1.1", host=b"Host: h\xe9"), 400, fate="any")
    yield lenient(passes("value with U+FFFD", "R3", get(b"/raw/f", "X-A: a\ufffdb".encode()),
                         Want(b"/f", (HOST, "X-A: a\ufffdb".encode())), fate="any"), 400)
    for byte in (0x00, 0x01, 0x08, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F):
        yield refused(f"value with byte 0x{byte:02X}", "R27", get(b"/raw/f", b"X-A: a" + bytes([byte]) + b"b"), 400)
    for line in (
        b"X-A : 1", b"X-A\t: 1", b"X A: 1", b": 1", b"X-A", b"X-\x00A: 1", b"X(A): 1", b"X@A: 1", b"X[A]: 1",
        b"X/A: 1", b"X\"A\": 1", b"\xc3\xa9: 1", b"X-\x7f: 1", b"X;A: 1", b"=: 1", b"X,A: 1", b"{}: 1", b"\\: 1",
    ):
        yield refused(f"field line {line!r}", "R27", get(b"/raw/f", line, b"X-B: 2"), 400)
    yield refused("Content-Length before a colon with space", "R27",
                  post(b"/raw/f", b"Content-Length : 5", body=b"hello"), 400)
    yield refused("Host before a colon with space", "R27", request(b"GET /raw/f HTTP/1.1", host=b"Host : h"), 400)
    yield refused("a folded line with space", "R27", get(b"/raw/f", b"X-A: 1\r\n 2"), 400)
    yield refused("a folded line with tab", "R27", get(b"/raw/f", b"X-A: 1\r\n\t2"), 400)
    yield refused("a folded empty value", "R27", get(b"/raw/f", b"X-A:\r\n x"), 400)
    yield refused("a folded Transfer-Encoding", "R27",
                  post(b"/raw/f", b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"), 400)
    yield refused("a first field line with space", "R27", request(b"GET /raw/f HTTP/1.1", host=b" Host: h"), 400)
    yield refused("an empty folded line", "R27", get(b"/raw/f", b"X-A: 1\r\n "), 400)
    yield refused("bare LF after the request line", "R27", b"GET /raw/f HTTP/1.1\nHost: h\r\n\r\n", 400)
    yield refused("bare LF after a field", "R27", b"GET /raw/f HTTP/1.1\r\nHost: h\nX-A: 1\r\n\r\n", 400)
    yield refused("bare LF at the end of the head", "R27", b"GET /raw/f HTTP/1.1\r\nHost: h\r\n\n", 400)
    yield refused("bare LF everywhere", "R27", b"GET /raw/f HTTP/1.1\nHost: h\n\n", 400)
    yield refused("bare CR in a value", "R27", get(b"/raw/f", b"X-A: 1\rX-B: 2"), 400)
    yield refused("bare CR before CR LF", "R27", get(b"/raw/f", b"X-A: 1\r"), 400)
    yield refused("bare CR in a name", "R27", get(b"/raw/f", b"X\rA: 1"), 400)
    yield refused("CR CR LF at the end of the head", "R27", b"GET /raw/f HTTP/1.1\r\nHost: h\r\n\r\r\n\r\n", 400)
    yield refused("bare CR as the end of the request line", "R27", b"GET /raw/f HTTP/1.1\rHost: h\r\n\r\n", {400, 505})
    yield refused("no Host", "R27", request(b"GET /raw/f HTTP/1.1", host=None), 400)
    yield refused("two Hosts", "R27", get(b"/raw/f", b"Host: other"), 400)
    yield refused("two equal Hosts", "R27", get(b"/raw/f", b"Host: h"), 400)
    yield refused("two Hosts of different case", "R27", get(b"/raw/f", b"hOST: h"), 400)
    yield refused("two Hosts in HTTP/1.0", "R27", request(b"GET /raw/f HTTP/1.0", b"Host: h"), 400)
    yield refused("two Hosts, absolute form", "R27", get(b"http://h/raw/f", b"Host: h"), 400)
    for host in (b"Host: a b", b"Host: a,b", b"Host: a/b", b"Host: u@h", b"Host: h:80:80", b"Host: h:x", b"Host: [::1",
                 b"Host: h?x", b"Host: h#x", b"Host: <h>"):
        yield refused(host.decode(), "R27", request(b"GET /raw/f HTTP/1.1", host=host), 400)
    yield Row("a head without end, then half-close", "R27", (b"GET /raw/f HTTP/1.1\r\nHost: h\r\n", HALF), None, (),
              "closed")


def hop_by_hop():
    """Fields that are removed, and those that a caller cannot remove."""
    def removes(name, sent, kept=(), clause="R3", target=b"/h", **more):
        return passes(name, clause, get(b"/raw" + target, *sent), Want(target, (HOST, *kept), **more))

    yield removes("Connection: keep-alive", [b"Connection: keep-alive"])
    yield removes("Connection names a field", [b"Connection: X-A", b"X-A: 1", b"X-B: 2"], [b"X-B: 2"])
    yield removes("Connection names it in other case", [b"connection: x-a", b"X-A: 1", b"x-a: 2"])
    yield removes("Connection names several", [b"Connection: x-a , X-B,, x-c", b"X-A: 1", b"X-B: 2", b"X-C: 3"])
    yield removes("two Connection lines", [b"Connection: x-a", b"X-A: 1", b"Connection: x-b", b"X-B: 2"])
    yield removes("Connection after the field", [b"X-A: 1", b"Connection: x-a"])
    yield removes("Connection names Host", [b"Connection: host"])
    yield removes("Connection names Authorization", [b"Connection: authorization", b"Authorization: x"], [b"Authorization: x"])
    yield removes("Connection names Content-Type", [b"Connection: content-type", b"Content-Type: a/b"], [b"Content-Type: a/b"])
    yield removes("Connection names Cookie", [b"Connection: cookie", b"Cookie: a"])
    yield removes("Connection names what the platform sets",
                  [b"Connection: x-cortex-request-id, x-forwarded-for, via, forwarded, x-request-id, x-forwarded-prefix"])
    yield removes("empty Connection", [b"Connection:", b"X-A: 1"], [b"X-A: 1"])
    yield removes("Connection names nothing that is there", [b"Connection: x-none, keep-alive"])
    yield passes("Connection names Content-Length", "R3",
                 post(b"/raw/h", b"Connection: content-length", b"Content-Length: 3", body=b"abc"),
                 Want(b"/h", (HOST, b"Content-Length: 3"), b"POST", b"abc"))
    yield passes("Connection names Transfer-Encoding", "R3",
                 post(b"/raw/h", b"Connection: transfer-encoding", b"Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\n\r\n"),
                 Want(b"/h", (HOST,), b"POST", b"a", "chunked"))
    yield passes("Connection: close and a field", "R3", get(b"/raw/h", b"Connection: close, x-a", b"X-A: 1"), Want(b"/h"),
                 fate="closed")
    yield removes("Keep-Alive", [b"Keep-Alive: timeout=5, max=100"])
    yield removes("Proxy-Connection", [b"Proxy-Connection: keep-alive"])
    yield passes("Proxy-Connection: close", "R3", get(b"/raw/h", b"Proxy-Connection: close"), Want(b"/h"), fate="any")
    yield removes("Proxy-Authorization", [b"Proxy-Authorization: Basic abc"])
    yield removes("TE: trailers", [b"TE: trailers"], [b"TE: trailers"])
    yield removes("TE: gzip", [b"TE: gzip"])
    yield removes("TE: trailers and gzip", [b"TE: gzip;q=0.5, trailers"], [b"TE: trailers"])
    yield removes("TE named by Connection", [b"Connection: TE", b"TE: gzip"])
    yield removes("TE: chunked", [b"TE: chunked"])
    yield removes("Upgrade without Connection", [b"Upgrade: websocket"])
    yield removes("Trailer is kept", [b"Trailer: X-T"], [b"Trailer: X-T"])
    for line in (b"X-Cortex-Request-ID: mine", b"x-cortex-probe: 1", b"X-Cortex-Origin: api", b"X-CORTEX-Target: a",
                 b"X-Cortex-Anything: 1", b"X-Cortex-: 1", b"X_Cortex_Request_ID: mine", b"X-Cortex_Shadow: true",
                 b"x_cortex-attempts: 9"):
        yield removes(f"the caller's {line.decode()}", [line, b"X-B: 2"], [b"X-B: 2"])
    yield removes("X-Request-ID of the caller", [b"X-Request-ID: mine"], check=field_is("X-Request-ID", b"mine"))
    yield passes("Upgrade: h2c", "R14",
                 get(b"/raw/h", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
                 Want(b"/h"), fate="any")
    yield passes("HTTP2-Settings alone", "R3", get(b"/raw/h", b"HTTP2-Settings: AAMAAABk"), Want(b"/h"))
    yield passes("Upgrade that the container refuses", "R14", get(b"/raw/h", b"Connection: upgrade", b"Upgrade: foo/1"),
                 Want(b"/h", (HOST, b"Upgrade: foo/1")), fate="any")
    yield passes("POST with Upgrade that the container refuses", "R14",
                 post(b"/raw/h", b"Connection: upgrade", b"Upgrade: foo/1", b"Content-Length: 3", body=b"abc"),
                 Want(b"/h", None, b"POST", b"abc", check=field_is("Upgrade", b"foo/1")), fate="any")


def field_is(name, value):
    def check(message):
        found = b", ".join(message.values(name))
        return None if found == value else f"the container received {name}: {found!r}, expected {value!r}"
    return check


def field_matches(name, *parts):
    def check(message):
        found = b", ".join(message.values(name))
        missing = [part for part in parts if part not in found]
        return f"the container received {name}: {found!r}, without {missing}" if missing else None
    return check


def forwarding():
    sent = {
        "X-Forwarded-For": (b"X-Forwarded-For: 203.0.113.9", b"203.0.113.9, 127.0.0.1", b"127.0.0.1"),
        "X-Forwarded-Proto": (b"X-Forwarded-Proto: https", b"https", b"http"),
        "X-Forwarded-Host": (b"X-Forwarded-Host: public.example", b"public.example", b"h"),
    }
    for name, (line, trusted, own) in sent.items():
        yield passes(f"{name} from a trusted peer", "R3", get(b"/raw/w", line), Want(b"/w", check=field_is(name, trusted)))
        yield passes(f"no {name}", "R3", get(b"/raw/w"), Want(b"/w", check=field_is(name, own)))
    yield passes("X-Forwarded-For in two lines", "R3",
                 get(b"/raw/w", b"X-Forwarded-For: 1.1.1.1", b"x-forwarded-for: 2.2.2.2"),
                 Want(b"/w", check=field_is("X-Forwarded-For", b"1.1.1.1, 2.2.2.2, 127.0.0.1")))
    yield passes("Forwarded from a trusted peer", "R3", get(b"/raw/w", b"Forwarded: for=203.0.113.9;proto=https"),
                 Want(b"/w", check=field_matches("Forwarded", b"for=203.0.113.9;proto=https", b"for=127.0.0.1")))
    yield passes("Via of the caller", "R3", get(b"/raw/w", b"Via: 1.0 fred"),
                 Want(b"/w", check=field_is("Via", b"1.0 fred, 1.1 cortex")))
    yield passes("a quote in X-Forwarded-Host cannot end a parameter of Forwarded", "R3",
                 get(b"/raw/w", b"X-Forwarded-Host: a\";for=evil"), Want(b"/w"))


def rows():
    for group in (targets, methods, versions, values, malformed_fields, hop_by_hop, forwarding):
        yield from group()

