"""Rows: framing of requests (R27), trailers (R6), pipelining (R5), Expect (R7), early responses (R8), limits (R16)."""

from __future__ import annotations

from origin import BODY, CLOSE, EARLY, FIN, RESET, ok
from row import HALF, HOST, Bytewise, Response, Row, Until, Want, get, lenient, passes, post, refused, request

CHUNKED = b"Transfer-Encoding: chunked"
EVIL = b"GET /raw/evil HTTP/1.1\r\nHost: h\r\n\r\n"


def lengths():
    for name, lines in (
        ("Content-Length and Transfer-Encoding", [b"Content-Length: 5", CHUNKED]),
        ("Transfer-Encoding and Content-Length", [CHUNKED, b"Content-Length: 5"]),
        ("Content-Length 0 and Transfer-Encoding", [b"Content-Length: 0", CHUNKED]),
        ("Content-Length and identity", [b"Content-Length: 5", b"Transfer-Encoding: identity"]),
        ("Content-Length and an unknown coding", [b"Content-Length: 5", b"Transfer-Encoding: x"]),
        ("Content-Length and empty Transfer-Encoding", [b"Content-Length: 5", b"Transfer-Encoding:"]),
        ("two different lengths", [b"Content-Length: 5", b"Content-Length: 6"]),
        ("two equal lengths", [b"Content-Length: 5", b"Content-Length: 5"]),
        ("two lengths of different case", [b"Content-Length: 5", b"content-length: 5"]),
        ("two lengths, far apart", [b"Content-Length: 5", b"X-A: 1", b"X-B: 2", b"Content-Length: 0"]),
        ("equal lengths in one field", [b"Content-Length: 5, 5"]),
        ("different lengths in one field", [b"Content-Length: 5, 6"]),
        ("a length and a comma", [b"Content-Length: 5,"]),
        ("+5", [b"Content-Length: +5"]), ("-5", [b"Content-Length: -5"]), ("-0", [b"Content-Length: -0"]),
        ("+0", [b"Content-Length: +0"]), ("0x5", [b"Content-Length: 0x5"]), ("5x", [b"Content-Length: 5x"]),
        ("empty", [b"Content-Length:"]), ("white space only", [b"Content-Length:   "]), ("5 5", [b"Content-Length: 5 5"]),
        ("5.0", [b"Content-Length: 5.0"]), ("5e0", [b"Content-Length: 5e0"]), ("5;", [b"Content-Length: 5;"]),
        ("\"5\"", [b"Content-Length: \"5\""]), ("1_0", [b"Content-Length: 1_0"]), ("five", [b"Content-Length: five"]),
        ("5 with vertical tab", [b"Content-Length: 5\x0b"]), ("5 with form feed", [b"Content-Length: \x0c5"]),
        ("5 with NUL", [b"Content-Length: 5\x00"]), ("5 with no-break space", [b"Content-Length: 5\xa0"]),
        ("an Arabic digit", ["Content-Length: ٥".encode()]), ("a full-width digit", ["Content-Length: ５".encode()]),
        ("2^63", [b"Content-Length: 9223372036854775808"]), ("2^64", [b"Content-Length: 18446744073709551616"]),
        ("2^64 and 5", [b"Content-Length: 18446744073709551621"]), ("300 digits", [b"Content-Length: " + b"9" * 300]),
    ):
        yield refused(f"length: {name}", "R27", post(b"/raw/l", *lines, body=b"hello" + EVIL), {400, 413})
    yield refused("length in HTTP/1.0: two", "R27",
                  request(b"POST /raw/l HTTP/1.0", b"Content-Length: 5", b"Content-Length: 0", body=b"hello"), 400)
    for line in (b"Transfer_Encoding: chunked", b"Content_Length: 99", b"Content_Length: 0"):
        yield passes(f"length beside {line.decode()}", "R27", post(b"/raw/l", b"Content-Length: 5", line, body=b"hello"),
                     Want(b"/l", (HOST, b"Content-Length: 5", line), b"POST", b"hello", "length"))
    yield passes("chunks beside Content_Length: 3", "R27",
                 post(b"/raw/l", b"Content_Length: 3", CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
                 Want(b"/l", (HOST, b"Content_Length: 3"), b"POST", b"hello", "chunked"))
    yield passes("length: 0", "R5", post(b"/raw/l", b"Content-Length: 0"),
                 Want(b"/l", (HOST, b"Content-Length: 0"), b"POST"))
    yield passes("length: spaces before it", "R5", post(b"/raw/l", b"Content-Length:   5", body=b"hello"),
                 Want(b"/l", (HOST, b"Content-Length: 5"), b"POST", b"hello"))
    yield lenient(passes("length: white space around it", "R5", post(b"/raw/l", b"Content-Length: \t 5 \t", body=b"hello"),
                         Want(b"/l", (HOST, b"Content-Length: 5"), b"POST", b"hello")), 400)
    for digits in (b"05", b"0000000000000000000000005"):
        yield lenient(passes(f"length: {digits.decode()}", "R27", post(b"/raw/l", b"Content-Length: " + digits, body=b"hello"),
                             Want(b"/l", None, b"POST", b"hello")), 400)
    yield passes("POST without length or coding", "R5", post(b"/raw/l"), Want(b"/l", (HOST,), b"POST", framing="none"))
    for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
        yield passes(f"{method.decode()} with a request as body", "R27",
                     request(method + b" /raw/l HTTP/1.1", b"Content-Length: %d" % len(EVIL), body=EVIL),
                     Want(b"/l", (HOST, b"Content-Length: %d" % len(EVIL)), method, EVIL))
    yield passes("a body of 1 MiB", "R5", post(b"/raw/l", b"Content-Length: 1048576", body=bytes(range(256)) * 4096),
                 Want(b"/l", (HOST, b"Content-Length: 1048576"), b"POST", bytes(range(256)) * 4096))
    partial = (post(b"/raw/l", b"Content-Length: 10", body=b"hello"), HALF)
    yield Row("a body that ends early", "R13", partial, (), None, "closed")
    yield Row("a body that ends early by reset", "R13", (*partial[:1], 0.05, "reset"), (), None, "any")


def codings():
    body = b"5\r\nhello\r\n0\r\n\r\n" + EVIL
    for name, lines in (
        ("identity", [b"Transfer-Encoding: identity"]), ("chunked, chunked", [b"Transfer-Encoding: chunked, chunked"]),
        ("gzip, chunked", [b"Transfer-Encoding: gzip, chunked"]), ("gzip", [b"Transfer-Encoding: gzip"]),
        ("chunked, gzip", [b"Transfer-Encoding: chunked, gzip"]), ("xchunked", [b"Transfer-Encoding: xchunked"]),
        ("chunkedx", [b"Transfer-Encoding: chunkedx"]), ("chunked, identity", [b"Transfer-Encoding: chunked, identity"]),
        ("identity, chunked", [b"Transfer-Encoding: identity, chunked"]), ("cow", [b"Transfer-Encoding: cow"]),
        ("cow, chunked", [b"Transfer-Encoding: cow, chunked"]), ("chunked;q=1", [b"Transfer-Encoding: chunked;q=1"]),
        ("\"chunked\"", [b"Transfer-Encoding: \"chunked\""]), ("'chunked'", [b"Transfer-Encoding: 'chunked'"]),
        ("chunked twice", [CHUNKED, CHUNKED]), ("gzip and chunked lines", [b"Transfer-Encoding: gzip", CHUNKED]),
        ("chunked and identity lines", [CHUNKED, b"Transfer-Encoding: identity"]),
        ("chunked and cow lines", [CHUNKED, b"Transfer-encoding: cow"]), ("empty", [b"Transfer-Encoding:"]),
        ("vertical tab", [b"Transfer-Encoding: \x0bchunked"]), ("form feed", [b"Transfer-Encoding: chunked\x0c"]),
        ("NUL", [b"Transfer-Encoding: chunked\x00"]), ("ch unked", [b"Transfer-Encoding: ch unked"]),
        ("chunk", [b"Transfer-Encoding: chunk"]), ("a no-break space", [b"Transfer-Encoding: chunked\xa0"]),
        ("Kelvin sign", ["Transfer-Encoding: chun\u212aed".encode()]), ("folded", [b"Transfer-Encoding: chunked\r\n ,x"]),
        ("a comma alone", [b"Transfer-Encoding: ,"]), ("bare CR", [b"Transfer-Encoding: \rchunked"]),
        ("white space before the colon", [b"Transfer-Encoding : chunked"]),
        ("a tab before the colon", [b"Transfer-Encoding\t: chunked"]), ("after bare LF", [b"X: x\nTransfer-Encoding: chunked"]),
    ):
        yield refused(f"coding: {name}", "R27", post(b"/raw/c", *lines, body=body), {400, 501})
    for name, line in (("chunked,", b"Transfer-Encoding: chunked,"), (", chunked", b"Transfer-Encoding: , chunked")):
        yield lenient(passes(f"coding: {name}", "R27", post(b"/raw/c", line, body=body[:-len(EVIL)]),
                             Want(b"/c", (HOST,), b"POST", b"hello"), fate="any"), 400)
    yield refused("coding in HTTP/1.0", "R27", request(b"POST /raw/c HTTP/1.0", CHUNKED, body=body), 400)
    yield refused("coding in HTTP/1.0, kept alive", "R27",
                  request(b"POST /raw/c HTTP/1.0", b"Connection: keep-alive", CHUNKED, body=body), 400)
    for name in (b"Chunked", b"CHUNKED", b"  chunked", b"  chunked \t"):
        row = passes(f"coding: {name!r}", "R27", post(b"/raw/c", b"Transfer-Encoding: " + name, body=body[:-len(EVIL)]),
                     Want(b"/c", (HOST,), b"POST", b"hello", "chunked"), fate="any")
        yield lenient(row, 400) if name.endswith(b"\t") else row
    yield passes("GET with chunks", "R27", get(b"/raw/c", CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"),
                 Want(b"/c", (HOST,), b"GET", b"abc", "chunked"))


def chunks():
    def chunked(name, body, want, clause="R27", size=None, **more):
        send = post(b"/raw/k", CHUNKED, body=body)
        return passes(f"chunks: {name}", clause, Bytewise(send, size) if size else send,
                      Want(b"/k", (HOST,), b"POST", want, "chunked"), **more)

    yield chunked("one", b"5\r\nhello\r\n0\r\n\r\n", b"hello")
    yield chunked("none", b"0\r\n\r\n", b"")
    yield chunked("several zeros at the end", b"5\r\nhello\r\n0000\r\n\r\n", b"hello")
    yield chunked("leading zeros", b"0005\r\nhello\r\n0\r\n\r\n", b"hello")
    yield chunked("upper and lower case", b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2)
    yield chunked("16 digits", b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello")
    yield chunked("many of one byte", b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n", b"x" * 2000)
    yield chunked("one byte a segment", b"5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n", b"helloabc", size=1)
    yield chunked("a request inside", b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVIL), EVIL), EVIL)
    yield chunked("what looks like the end inside", b"7\r\n0\r\n\r\nab\r\n0\r\n\r\n", b"0\r\n\r\nab")
    yield chunked("1 MiB in one", b"100000\r\n" + b"m" * 1048576 + b"\r\n0\r\n\r\n", b"m" * 1048576)
    for name, extension in (("a name", b";a"), ("a value", b";a=b"), ("a quoted value", b";a=\"b;c\""), ("several", b";a=1;b=2")):
        yield chunked(f"extension with {name}", b"5" + extension + b"\r\nhello\r\n0" + extension + b"\r\n\r\n", b"hello")
    for name, body in (("space after the size", b"5 \r\nhello\r\n0\r\n\r\n"), ("tab after the size", b"5\t\r\nhello\r\n0\r\n\r\n"),
                       ("space before an extension", b"5 ;a\r\nhello\r\n0\r\n\r\n"), ("an empty extension", b"5;\r\nhello\r\n0\r\n\r\n"),
                       ("an extension of 20 KiB", b"5;" + b"a" * 20_000 + b"\r\nhello\r\n0\r\n\r\n")):
        yield Row(f"chunks: {name}", "R27", (post(b"/raw/k", CHUNKED, body=body),), None,
                  (Response({200, 400, 413, 431}),), "any", methods=(b"POST",))
    # Malformed after a valid head: the container may receive a part, never a complete request.
    for name, body in (
        ("17 digits that are more than 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("0x5", b"0x5\r\nhello\r\n0\r\n\r\n"), ("+5", b"+5\r\nhello\r\n0\r\n\r\n"),
        ("-5", b"-5\r\nhello\r\n0\r\n\r\n"), ("no digits", b"\r\nhello\r\n0\r\n\r\n"), ("G", b"G\r\nhello\r\n0\r\n\r\n"),
        ("5_0", b"5_0\r\nhello\r\n0\r\n\r\n"), ("space before the size", b" 5\r\nhello\r\n0\r\n\r\n"), ("5h", b"5h\r\nhello\r\n0\r\n\r\n"),
        ("bare LF after the size", b"5\nhello\r\n0\r\n\r\n"), ("bare CR after the size", b"5\rhello\r\n0\r\n\r\n"),
        ("CR CR LF after the size", b"5\r\r\nhello\r\n0\r\n\r\n"), ("bare LF after the data", b"5\r\nhello\n0\r\n\r\n"),
        ("nothing after the data", b"5\r\nhello0\r\n\r\n"), ("more data than the size", b"4\r\nhello\r\n0\r\n\r\n"),
        ("two other bytes after the data", b"5\r\nhelloXX0\r\n\r\n"), ("CR X after the data", b"5\r\nhello\rX0\r\n\r\n"),
        ("bare LF after the last size", b"5\r\nhello\r\n0\n\r\n"), ("bare LF at the end", b"5\r\nhello\r\n0\r\n\n"),
        ("NUL in the size", b"5\x00\r\nhello\r\n0\r\n\r\n"), ("an extension with bare LF", b"5;a\nhello\r\n0\r\n\r\n"),
        ("an extension with bare CR", b"5;a\rb\r\nhello\r\n0\r\n\r\n"), ("an extension with NUL", b"5;a=\x00\r\nhello\r\n0\r\n\r\n"),
        ("an extension with bare LF, then a size", b"2;\nxx\r\n%x\r\n0\r\n\r\n%b\r\n0\r\n\r\n" % (5 + len(EVIL), EVIL)),
        ("a folded extension", b"5;a\r\n b\r\nhello\r\n0\r\n\r\n"), ("a digit of UTF-8", "٥\r\nhello\r\n0\r\n\r\n".encode()),
        ("an extension outside ASCII without name", b"5\xff\r\nhello\r\n0\r\n\r\n"),
    ):
        yield Row(f"bad chunks: {name}", "R27", (post(b"/raw/k", CHUNKED, body=body + EVIL),), (),
                  (Response({400, 413}),), "closed", methods=(b"POST",))
    for count in (17, 300):
        yield refused(f"chunks: {count} digits with leading zeros", "R27",
                      post(b"/raw/k", CHUNKED, body=b"0" * (count - 1) + b"5\r\nhello\r\n0\r\n\r\n" + EVIL), 400)
    for name, size in (("2^64 - 1", b"FFFFFFFFFFFFFFFF"), ("2^63", b"8000000000000000")):
        yield Row(f"chunks: a size of {name}", "R27", (post(b"/raw/k", CHUNKED, body=size + b"\r\nhello\r\n0\r\n\r\n" + EVIL),), (), None,
                  "any", seconds=0.5)
    for name, body in (("the last chunk", b"5\r\nhello\r\n"), ("the end of a chunk", b"5\r\nhel"), ("CR LF after data", b"5\r\nhello"),
                       ("everything", b""), ("the last line", b"5\r\nhello\r\n0\r\n"), ("LF of the last line", b"5\r\nhello\r\n0\r\n\r")):
        yield Row(f"half-close without {name}", "R13, R27", (post(b"/raw/k", CHUNKED, body=body), HALF), (), None, "closed")


def trailers():
    def with_trailers(name, lines, want, clause="R6", **more):
        body = b"5\r\nhello\r\n0\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
        return passes(f"trailers: {name}", clause, post(b"/raw/t", CHUNKED, body=body),
                      Want(b"/t", (HOST,), b"POST", b"hello", "chunked", tuple(want)), **more)

    yield with_trailers("one", [b"X-T: v"], [b"X-T: v"])
    yield with_trailers("several, in order", [b"X-B: 1", b"X-A: 2", b"X-B: 3"], [b"X-B: 1", b"X-A: 2", b"X-B: 3"])
    yield with_trailers("an empty value", [b"X-T:"], [b"X-T: "])
    yield with_trailers("checksums", [b"Content-MD5: x", b"Digest: y", b"Server-Timing: a;dur=1"],
                        [b"Content-MD5: x", b"Digest: y", b"Server-Timing: a;dur=1"])
    for line in (b"Content-Length: 5", CHUNKED, b"Host: evil", b"Authorization: x", b"Connection: close", b"TE: x",
                 b"Proxy-Authorization: x", b"X-Cortex-Request-ID: x", b"x_cortex_probe: 1", b"Upgrade: x", b"Keep-Alive: 1",
                 b"X-Forwarded-For: 1.1.1.1", b"Forwarded: for=x", b"Cookie: a=b", b"Trailer: x", b"Set-Cookie: a"):
        # Cookie, Trailer and Set-Cookie are not named by the clause.
        strict = line.split(b":")[0] not in (b"Cookie", b"Trailer", b"Set-Cookie")
        row = with_trailers(line.decode(), [line, b"X-T: v"], [b"X-T: v"] if strict else [line, b"X-T: v"], fate="any")
        yield lenient(row if strict else Row(row.name, row.clause, row.send, None, row.got, "any", methods=(b"POST",)), 400)
    for name, lines in (("folded", b"X-T: v\r\n w\r\n"), ("bare LF", b"X-T: v\nX-U: w\r\n"), ("NUL", b"X-T: \x00\r\n"), ("no colon", b"X-T\r\n"),
                        ("space before the colon", b"X-T : v\r\n"), ("bare CR", b"X-T: v\rw\r\n"),
                        ("70 KiB", b"X-T: " + b"v" * 70_000 + b"\r\n"), ("300", b"X-T: v\r\n" * 300)):
        yield Row(f"bad trailers: {name}", "R27", (post(b"/raw/t", CHUNKED, body=b"5\r\nhello\r\n0\r\n" + lines + b"\r\n" + EVIL),), (),
                  (Response({400, 431}),), "closed", methods=(b"POST",))


    for name, value in (("Latin-1", b"\xe9"), ("a cut character", b"a\xe2\x82"), ("an overlong character", b"\xc0\xaf")):
        yield refused(f"trailers: a value with {name}", "R3, R6",
                      post(b"/raw/t", CHUNKED, body=b"5\r\nhello\r\n0\r\nX-U: 1\r\nX-T: " + value + b"\r\n\r\n" + EVIL), 400, methods=(b"POST",))
    yield with_trailers("white space around values", [b"X-T:\t v\tw \t"], [b"X-T: v\tw"])


def pipelines():
    two = get(b"/raw/1") + get(b"/raw/2")
    yield passes("two GETs", "R5", two, Want(b"/1"), Want(b"/2"))
    yield passes("two GETs, one byte a segment", "R5", Bytewise(two), Want(b"/1"), Want(b"/2"))
    yield passes("ten GETs", "R5", b"".join(get(b"/raw/%d" % n) for n in range(10)), *[Want(b"/%d" % n) for n in range(10)])
    yield passes("ten POSTs", "R5",
                 b"".join(post(b"/raw/%d" % n, b"Content-Length: 2", body=b"%02d" % n) for n in range(10)),
                 *[Want(b"/%d" % n, (HOST, b"Content-Length: 2"), b"POST", b"%02d" % n) for n in range(10)])
    yield passes("responses in order though the first is slow", "R5", two, Want(b"/1"), Want(b"/2"),
                 got=[Response(200, body=b"slow"), Response(200, body=b"fast")], play=((0.1, ok(b"slow")), (ok(b"fast"),)))
    yield passes("POST with length, then GET", "R5", post(b"/raw/1", b"Content-Length: 5", body=b"hello") + get(b"/raw/2"),
                 Want(b"/1", (HOST, b"Content-Length: 5"), b"POST", b"hello"), Want(b"/2"))
    yield passes("POST with chunks, then GET", "R5", post(b"/raw/1", CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n") + get(b"/raw/2"),
                 Want(b"/1", (HOST,), b"POST", b"hello", "chunked"), Want(b"/2"))
    yield passes("POST with trailers, then GET", "R5",
                 post(b"/raw/1", CHUNKED, body=b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n") + get(b"/raw/2"),
                 Want(b"/1", (HOST,), b"POST", b"hello", "chunked", (b"X-T: 1",)), Want(b"/2"))
    yield passes("HEAD, then GET", "R5", request(b"HEAD /raw/1 HTTP/1.1") + get(b"/raw/2"), Want(b"/1", method=b"HEAD"), Want(b"/2"))
    yield passes("a CR LF after a body", "R27", post(b"/raw/1", b"Content-Length: 2", body=b"ab\r\n") + get(b"/raw/2"),
                 Want(b"/1", (HOST, b"Content-Length: 2"), b"POST", b"ab"), Want(b"/2"))
    yield passes("Connection: close in the first", "R5", get(b"/raw/1", b"Connection: close") + get(b"/raw/2"), Want(b"/1"), fate="closed")
    yield passes("HTTP/1.0 first", "R5", request(b"GET /raw/1 HTTP/1.0") + get(b"/raw/2"), Want(b"/1"), fate="closed")
    yield passes("Connection: close in the second", "R5", get(b"/raw/1") + get(b"/raw/2", b"Connection: close"), Want(b"/1"), Want(b"/2"),
                 fate="closed")
    yield passes("404 between", "R5", get(b"/raw/1") + get(b"/none") + get(b"/raw/2"), Want(b"/1"), Want(b"/2"),
                 got=[Response(), Response(404), Response()], methods=(b"GET",) * 3)
    for name, second in (("a malformed request", b"GET /raw/2 HTTP/1.1\r\nHost h\r\n\r\n"), ("garbage", b"\x00\x01\x02\r\n\r\n"),
                         ("two lengths", post(b"/raw/2", b"Content-Length: 1", b"Content-Length: 2", body=b"ab")),
                         ("an unknown method", request(b"FOO /raw/2 HTTP/1.1")), ("HTTP/2.0", request(b"GET /raw/2 HTTP/2.0"))):
        yield Row(f"{name} second", "R27", (get(b"/raw/1") + second + EVIL,), (Want(b"/1"),),
                  (Response(), Response({400, 501, 505})), "closed", methods=(b"GET",) * 2)
    yield Row("more body than the length", "R27", (post(b"/raw/1", b"Content-Length: 2", body=b"abGARBAGE\r\n\r\n") + EVIL,),
              (Want(b"/1", (HOST, b"Content-Length: 2"), b"POST", b"ab"),), (Response(), Response({400, 501, 505})), "closed",
              methods=(b"POST", b"GET"))
    yield passes("a length that is too small leaves a valid request", "R27", post(b"/raw/1", b"Content-Length: 2", body=b"ab" + EVIL),
                 Want(b"/1", (HOST, b"Content-Length: 2"), b"POST", b"ab"), Want(b"/evil"))
    yield passes("a length that covers the next request", "R27",
                 post(b"/raw/1", b"Content-Length: %d" % len(EVIL), body=EVIL) + get(b"/raw/2"),
                 Want(b"/1", (HOST, b"Content-Length: %d" % len(EVIL)), b"POST", EVIL), Want(b"/2"))
    attacks = {
        "CL.TE": post(b"/raw/1", b"Content-Length: %d" % (5 + len(EVIL)), CHUNKED, body=b"0\r\n\r\n" + EVIL),
        "TE.CL": post(b"/raw/1", b"Content-Length: 4", CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVIL), EVIL)),
        "TE.TE": post(b"/raw/1", CHUNKED, b"Transfer-Encoding: cow", body=b"0\r\n\r\n" + EVIL),
        "TE.TE with a name of space": post(b"/raw/1", CHUNKED, b"Transfer-Encoding : cow", body=b"0\r\n\r\n" + EVIL),
        "CL.CL": post(b"/raw/1", b"Content-Length: 0", b"Content-Length: %d" % len(EVIL), body=EVIL),
        "CL.0 with two Hosts": post(b"/raw/1", b"Content-Length: %d" % len(EVIL), b"Host: g", body=EVIL),
        "a hidden length behind bare LF": post(b"/raw/1", b"X: x\nContent-Length: %d" % len(EVIL), body=EVIL),
        "a hidden length behind NUL": post(b"/raw/1", b"X: x\x00\r\nContent-Length: %d" % len(EVIL), body=EVIL),
    }
    for name, data in attacks.items():
        yield refused(f"smuggling: {name}", "R27", data, 400)


def expect():
    body = b"hello"
    sent = post(b"/raw/x", b"Expect: 100-continue", b"Content-Length: 5")
    want = Want(b"/x", (HOST, b"Expect: 100-continue", b"Content-Length: 5"), b"POST", body)
    go = b"HTTP/1.1 100 Continue\r\n\r\n"
    yield passes("the container sends 100", "R7", (sent, 0.15, body), want, got=Response(200, interim=(100,)), play=((go, BODY, ok()),))
    yield passes("the container sends no 100", "R7", (sent, 1.6, body), want, got=Response(200, interim=(100,)), play=((BODY, ok()),))
    yield passes("the caller does not wait", "R7", sent + body, want, play=((BODY, ok()),))
    yield passes("the caller does not wait and the container sends 100", "R7", sent + body, want, play=((go, BODY, ok()),), fate="any")
    yield Row("the container refuses with 417", "R7", (sent,), None, (Response(417, body=b"no", interim=()),), "any",
              play=((ok(b"no", status=b"417 Expectation Failed"), EOF_OR_BODY),), methods=(b"POST",))
    yield Row("the container refuses with 401 and the caller sends on", "R7, R8", (sent, Until(1), body), None,
              (Response(401, body=b"no", interim=()),), "any", play=((ok(b"no", status=b"401 Unauthorized"), EOF_OR_BODY),), methods=(b"POST",))
    yield passes("with a body in chunks", "R7", (post(b"/raw/x", b"Expect: 100-continue", CHUNKED), 0.15, b"5\r\nhello\r\n0\r\n\r\n"),
                 Want(b"/x", (HOST, b"Expect: 100-continue"), b"POST", body, "chunked"), got=Response(200, interim=(100,)),
                 play=((go, BODY, ok()),))
    yield passes("other case", "R7", (post(b"/raw/x", b"expect: 100-Continue", b"Content-Length: 5"), 0.15, body),
                 Want(b"/x", (HOST, b"expect: 100-Continue", b"Content-Length: 5"), b"POST", body), play=((go, BODY, ok()),))
    yield passes("without body", "R7", get(b"/raw/x", b"Expect: 100-continue"), Want(b"/x", (HOST, b"Expect: 100-continue")))
    yield passes("HTTP/1.0 never gets a 100", "R5",
                 request(b"POST /raw/x HTTP/1.0", b"Expect: 100-continue", b"Content-Length: 5", body=body),
                 Want(b"/x", None, b"POST", body), got=Response(200, interim=()), play=((BODY, ok()),), fate="closed")
    yield passes("HTTP/1.0 gets no 100 of the container", "R5",
                 request(b"POST /raw/x HTTP/1.0", b"Content-Length: 5", body=body),
                 Want(b"/x", None, b"POST", body), got=Response(200, interim=()), play=((go, BODY, ok()),), fate="closed")
    yield lenient(passes("another expectation", "R3", get(b"/raw/x", b"Expect: something"), Want(b"/x", (HOST, b"Expect: something")),
                         fate="any"), 417)
    yield refused("404 without a 100", "R7", post(b"/none", b"Expect: 100-continue", b"Content-Length: 5"), 404, "not_found", "any")
    yield refused("413 without a 100", "R7", post(b"/small", b"Expect: 100-continue", b"Content-Length: 5000"), 413, "payload_too_large", "any")


def finish_or_close(connection, received):
    """Waits for the end of the request or of the connection."""
    while not received.message.is_complete and connection.receive():
        received.message, received.raw = connection.parse(), connection.buffer
    return received.message.is_complete


EOF_OR_BODY = finish_or_close


def early():
    no = ok(b"no", status=b"401 Unauthorized")
    yield Row("the rest is 10 KiB", "R8", (post(b"/raw/e", b"Content-Length: 10240", body=b"x"), Until(1), b"x" * 10239), None,
              (Response(401, body=b"no"),), "open", play=((no, EOF_OR_BODY),), methods=(b"POST",))
    yield Row("the rest is 1 MiB", "R8", (post(b"/raw/e", b"Content-Length: 1048576", body=b"x"), Until(1)), None,
              (Response(401, body=b"no", check=says_close),), "closed", play=((no, EOF_OR_BODY),), methods=(b"POST",))
    yield Row("the rest is 1 MiB and the caller sends on", "R8",
              (post(b"/raw/e", b"Content-Length: 1048576", body=b"x"), Until(1), b"x" * 1048575), None,
              (Response(401, body=b"no", check=says_close),), "closed", play=((no, EOF_OR_BODY),), methods=(b"POST",))
    yield Row("chunks, the rest is small", "R8", (post(b"/raw/e", CHUNKED, body=b"1\r\nx\r\n"), Until(1), b"1\r\ny\r\n0\r\n\r\n"), None,
              (Response(401, body=b"no"),), "any", play=((no, EOF_OR_BODY),), methods=(b"POST",))
    yield Row("the container responds and closes", "R8", (post(b"/raw/e", b"Content-Length: 300000", body=b"x" * 100_000), Until(1)), None,
              (Response(401, body=b"no"),), "closed", play=((EARLY, no, CLOSE),), methods=(b"POST",))
    yield Row("the container responds, ends its output and reads on", "R8",
              (post(b"/raw/e", b"Content-Length: 10240", body=b"x"), Until(1), b"x" * 10239), None,
              (Response(401, body=b"no"),), "any", play=((ok(b"no", b"Connection: close", status=b"401 Unauthorized"), FIN, EOF_OR_BODY),),
              methods=(b"POST",))
    yield Row("the caller pauses, then sends the rest and another request", "R8",
              (post(b"/raw/e", b"Content-Length: 1000", body=b"x"), Until(1), 0.1, b"x" * 999 + get(b"/raw/2")), None,
              (Response(401, body=b"no"), Response(200, body=b"two")), "open", play=((no, EOF_OR_BODY), (ok(b"two"),)), methods=(b"POST", b"GET"))
    yield Row("the response streams while the request does", "R5",
              (post(b"/raw/e", CHUNKED, body=b"1\r\na\r\n"), 0.1, b"1\r\nb\r\n", 0.1, b"1\r\nc\r\n0\r\n\r\n"), None,
              (Response(200, body=b"12", framing="chunked"),), "any",
              play=((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n", EOF_OR_BODY, b"1\r\n2\r\n0\r\n\r\n"),),
              methods=(b"POST",))
    yield Row("the container resets while the body arrives", "R16",
              (post(b"/raw/e", b"Content-Length: 300000", body=b"x" * 100_000), 0.1, b"x" * 200_000), None,
              (Response(502, kind="replica_lost"),), "any", play=((EARLY, RESET),), methods=(b"POST",))


def says_close(got):
    value = b", ".join(got.values("Connection")).lower()
    return None if b"close" in value else "the response carries no Connection: close"


def limits():
    small = [b"Content-Length: 1000"]
    yield passes("a body as large as max_payload", "R16", post(b"/small", *small, body=b"s" * 1000),
                 Want(b"/", (HOST, *small), b"POST", b"s" * 1000), api="small")
    yield refused("a length over max_payload", "R16", post(b"/small", b"Content-Length: 1001", body=b"s" * 1001), 413,
                  "payload_too_large", "any", api="small")
    yield refused("an immense length over max_payload", "R16", post(b"/small", b"Content-Length: 999999999999"), 413,
                  "payload_too_large", "any", api="small")
    yield Row("chunks over max_payload", "R16", (post(b"/small", CHUNKED, body=b"400\r\n" + b"s" * 1024 + b"\r\n0\r\n\r\n"),), (),
              (Response(413, kind="payload_too_large"),), "any", api="small", methods=(b"POST",))
    yield passes("chunks as large as max_payload", "R16", post(b"/small", CHUNKED, body=b"3e8\r\n" + b"s" * 1000 + b"\r\n0\r\n\r\n"),
                 Want(b"/", (HOST,), b"POST", b"s" * 1000, "chunked"), api="small")


def rows():
    for group in (lengths, codings, chunks, trailers, pipelines, expect, early, limits):
        yield from group()
