import HTTPServing
import TestSupport
import Testing

/// Requests that two servers in a row could read differently, or that are none.
private let malformed: [(name: String, request: String)] = [
    (
        "length and chunked",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    (
        "chunked and length",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"
    ),
    ("two lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    ("the same length twice", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    ("a list of lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc"),
    ("signed length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc"),
    ("negative length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -3\r\n\r\nabc"),
    ("length in hexadecimal", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x3\r\n\r\nabc"),
    ("empty length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\n"),
    ("length past 64 bits", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n"),
    ("other coding", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\nabc"),
    ("two codings", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked twice", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    (
        "two coding headers",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    ),
    ("nearly chunked", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("vertical tab before chunked", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \u{0B}chunked\r\n\r\n0\r\n\r\n"),
    ("chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("folded header", "POST / HTTP/1.1\r\nHost: h\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
    ("one bare line feed", "POST / HTTP/1.1\r\nHost: h\nX-A: b\r\nContent-Length: 0\r\n\r\n"),
    ("bare carriage return", "POST / HTTP/1.1\r\nHost: h\r\nX-A: b\rX-B: c\r\nContent-Length: 0\r\n\r\n"),
    ("NUL in a value", "POST / HTTP/1.1\r\nHost: h\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n"),
    ("NUL in a name", "POST / HTTP/1.1\r\nHost: h\r\nX\0A: b\r\nContent-Length: 0\r\n\r\n"),
    ("NUL in the target", "POST /\0 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"),
    ("space before the colon", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\nabc"),
    ("no name", "POST / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n"),
    ("only line feeds", "POST / HTTP/1.1\nHost: h\nContent-Length: 0\n\n"),
    ("two spaces before the target", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("two spaces behind the target", "GET /  HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a file URL", "GET file:///etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("an ftp URL", "GET ftp://h/x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a URL without a host", "GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("the target of OPTIONS", "GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("no method", "nonsense\r\n\r\n"),
    ("a TLS greeting", "\u{16}\u{03}\u{01}\u{02}\u{00}\u{01}\u{00}"),
    ("broken chunk size", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"),
    (
        "chunk size past 64 bits",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc"
    ),
    (
        "chunk size of 17 digits",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000003\r\nabc\r\n0\r\n\r\n"
    ),
    (
        "last chunk size of 17 digits",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n00000000000000000\r\n\r\n"
    ),
    ("chunk longer than said", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n"),
    ("chunk with a bare line feed", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\n0\n\n"),
]

@Suite("Framing")
struct FramingTests {
    @Test(
        "A4: a text that is not one clear HTTP/1.1 request is answered 400 in the usual shape, and the connection closed",
        arguments: malformed)
    func refused(_ sample: (name: String, request: String)) async throws {
        let handler: HTTPHandler = { request, body in
            if request.path == "/smuggled" { Issue.record("\(sample.name): a smuggled request was served") }
            return try await echo(request, &body)
        }
        try await withServer(handler: handler) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(sample.request + "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
                let answer = try await connection.readToEnd()
                #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(sample.name): \(answer)")
                #expect(
                    answer.contains("{\"error\":{\"kind\":\"bad_request\",\"message\":"), "\(sample.name): \(answer)")
                #expect(answer.contains("Connection: close"), "\(sample.name): \(answer)")
                #expect(answer.ranges(of: "Content-Length: ").count == 1, "\(sample.name): \(answer)")
            }
        }
    }

    @Test(
        "A4: other refusals of a head have their own status",
        arguments: [
            ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
            ("POST / HTTP/2.0\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 505),
            ("POST / HTTP/1.2\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 505),
            ("POST / HTTP/1.2\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 505),
            ("POST / HTTP/1.10\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 505),
            ("POST / HTTP/3\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 505),
            ("POST / HTTP/0.9\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 505),
            ("\(String(repeating: "M", count: 100)) / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 501),
            ("GETX / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
            ("BREW / HTTP/1.1\r\nHost: h\r\n\r\n", 501),
            ("GET /\(String(repeating: "a", count: 17_000)) HTTP/1.1\r\nHost: h\r\n\r\n", 414),
            ("GET / HTTP/1.1\r\nHost: h\r\nX: \(String(repeating: "a", count: 70_000))\r\n\r\n", 431),
            (
                "GET / HTTP/1.1\r\nHost: h\r\n\(String(repeating: "X: \(String(repeating: "a", count: 1000))\r\n", count: 70))\r\n",
                431
            ),
            ("GET / HTTP/1.1\r\nHost: h\r\n\(String(repeating: "X: a\r\n", count: 300))\r\n", 431),
            ("POST / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\n", 417),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n8000000000000000\r\n",
                413
            ),
            ("POST / HTTP/1.0\r\nHost: h\r\n\r\nabc", 411), ("POST / HTTP/1.0\r\n\r\n", 411),
            ("POST / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", 411),
            ("PUT / HTTP/1.0\r\nHost: h\r\n\r\nabc", 411), ("PATCH / HTTP/1.0\r\nHost: h\r\n\r\n", 411),
        ])
    func otherStatus(_ sample: (request: String, status: Int)) async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(sample.request)
                let answer = try await connection.readToEnd()
                #expect(answer.hasPrefix("HTTP/1.1 \(sample.status) "), "\(answer)")
                let kind =
                    switch sample.status {
                    case 413: "payload_too_large"
                    case 501: "method_not_implemented"
                    default: "bad_request"
                    }
                #expect(answer.contains("{\"error\":{\"kind\":\"\(kind)\""))
            }
        }
    }

    @Test(
        "A4: the reason names the part of a head that is wrong",
        arguments: [
            ("GET /?name=é HTTP/1.1\r\nHost: h\r\n\r\n", "the target must be percent-encoded"),
            ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "sent as %20"),
            ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "one space between"),
            ("GET echo HTTP/1.1\r\nHost: h\r\n\r\n", "must begin with /"),
            ("GET file:///x HTTP/1.1\r\nHost: h\r\n\r\n", "http or https URL"),
            ("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", "the target has a fragment"),
            ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS only"),
            ("POST / HTTP/1.1\nHost: h\n\n", "request line ends with LF only"),
            ("POST / HTTP/1.1\r\nHost: h\nX-A: b\r\n\r\n", "header line 1 ends with LF only"),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                "both Content-Length and Transfer-Encoding"
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
                "Content-Length stands there 2 times"
            ),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", "Content-Length must be one number"),
            ("GET / HTTP/1.1\r\nHost: h\r\nX-A : b\r\n\r\n", "white space before the colon"),
            ("GET / HTTP/1.1\r\nHost: h\r\nX-A: b\r\n c\r\n\r\n", "header line 3 begins with white space"),
            ("GET / HTTP/1.1\r\nHost: h\r\nX-A: b\0c\r\n\r\n", "the value of the header X-A has a control character"),
            ("GET / HTTP/1.1\r\nHost: h\r\nX(A): b\r\n\r\n", "the name in header line 2"),
            ("GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", "header line 2 has no name"),
            ("GET / HTTP/1.1\r\nHost: h\r\nabc\r\n\r\n", "header line 2 has no colon"),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunked body is malformed"),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: 4\r\n\r\n",
                "has Content-Length in its trailer section"
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
                "has Transfer-Encoding in its trailer section"
            ),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nno field\r\n\r\n",
                "the trailer section of the chunked body is malformed"
            ),
            ("nonsense\r\n\r\n", "a method, a target and HTTP/1.1"),
            ("\u{16}\u{03}\u{01}\u{02}\u{00}\u{01}\u{00}", "TLS"),
        ])
    func reasons(_ sample: (request: String, reason: String)) async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(sample.request)
                let answer = try await connection.readToEnd()
                #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(answer)")
                #expect(answer.contains(sample.reason), "\(answer)")
            }
        }
    }

    @Test(
        "A4: a Host that is no host and port is refused, and so is a URL with such a host",
        arguments: [
            "a b", "a/b@c", "user@h", "a/", "h:80a", "h:80:90", "h:-1", "[::1", "[]", "[::1]x", "a,b", "a, b", "h?x",
            "%zz", "h\\",
            "h\u{E4}", "\"h\"", "<h>",
        ])
    func badHost(_ host: String) async throws {
        try await withServer(handler: echo) { port, _ in
            for version in ["1.0", "1.1"] {
                let answer = try await RawConnection.open(port: port) { connection in
                    try await connection.send(
                        "GET / HTTP/\(version)\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
                    return try await connection.readToEnd()
                }
                #expect(answer.hasPrefix("HTTP/1.1 400 ") && answer.contains("Host header"), "\(host): \(answer)")
            }
            // What stands before a slash or a question mark may be a host of its own.
            guard !host.contains("/"), !host.contains("?") else { return }
            let answer = try await RawConnection.open(port: port) { connection in
                try await connection.send("GET http://\(host)/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                return try await connection.readToEnd()
            }
            #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(host): \(answer)")
        }
    }

    @Test(
        "A4: every Host that RFC 9112 allows is served, an empty one too",
        arguments: [
            "", " ", "h", "h:", "h:80", "127.0.0.1:8889", "[::1]", "[::1]:80", "[v1.a:b]", "a_b.c-d~e",
            "%C3%A4.example", "a!$&'()*+;=b",
        ])
    func goodHost(_ host: String) async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send("GET /a HTTP/1.1\r\nHost: \(host)\r\n\r\n")
                #expect(try await connection.readResponse().body == "GET /a - ", "\(host)")
            }
        }
    }

    @Test("A4: an http or https URL as target is served by its path", arguments: ["http", "https", "HTTP"])
    func absolute(scheme: String) async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send("GET \(scheme)://other:1/a?b HTTP/1.1\r\nHost: h\r\n\r\n")
                #expect(try await connection.readResponse().body == "GET /a b ")
            }
        }
    }

    @Test("A4: OPTIONS * is 204 without a body, and the connection is kept")
    func serverOptions() async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                for _ in 0..<2 {
                    try await connection.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
                    let answer = try await connection.readResponse()
                    #expect(answer.status == 204 && answer.headers["allow"]?.contains("OPTIONS") == true)
                }
                try await connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                #expect(try await connection.readResponse().status == 200)
            }
        }
    }

    @Test("A4: a broken request behind good ones does not take their answers away")
    func brokenAfterGood() async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(
                    "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nbroken\r\n\r\n")
                #expect(try await connection.readResponse().body == "GET /1 - ")
                #expect(try await connection.readResponse().body == "GET /2 - ")
                #expect(try await connection.readToEnd().hasPrefix("HTTP/1.1 400 "))
            }
        }
    }
}
