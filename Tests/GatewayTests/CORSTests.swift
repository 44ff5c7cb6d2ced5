import Core
import HTTPServing
import NIOHTTP1
import TestSupport
import Testing

@Suite("CORS")
struct CORSTests {
    @Test(
        "A8: a page of any origin may send any header",
        arguments: [("/hello", "POST, OPTIONS"), ("/hello/1", "GET, HEAD, DELETE, OPTIONS")])
    func preflight(_ sample: (path: String, methods: String)) async throws {
        try await GatewayFixture.with { gateway in
            let answer = try await gateway.send(
                .OPTIONS, sample.path,
                headers: [
                    "Origin": "https://app.example", "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "authorization,x-anything,content-type",
                ])
            #expect(answer.status == 204 && answer.bytes.isEmpty)
            #expect(answer.headers["access-control-allow-origin"] == ["*"])
            #expect(answer.headers["access-control-allow-methods"] == [sample.methods])
            #expect(answer.headers["access-control-allow-headers"] == ["authorization,x-anything,content-type"])
            #expect(answer.headers.first(name: "access-control-max-age") != nil)
        }
    }

    @Test("A8: a page may read answers, errors too, and where to look next")
    func answers() async throws {
        try await GatewayFixture.with { gateway in
            let origin: HTTPHeaders = ["Origin": "https://app.example"]
            let posted = try await gateway.send(.POST, "/hello", headers: origin, body: [1])
            #expect(posted.headers["access-control-allow-origin"] == ["*"])
            #expect(posted.headers.first(name: "access-control-expose-headers")?.contains("Location") == true)
            for path in ["/hello/\(posted.id)", "/hello/none", "/none"] {
                let answer = try await gateway.send(.GET, path, headers: origin)
                #expect(answer.headers["access-control-allow-origin"] == ["*"], "\(path)")
            }
            let plain = try await gateway.send(.GET, "/hello/\(posted.id)")
            #expect(plain.headers["access-control-allow-origin"].isEmpty)
        }
    }

    @Test("A8: an API can name its origins; others get nothing a browser would accept")
    func named() async throws {
        let api = APISpecification.test(allowOrigins: ["https://app.example", "http://localhost:3000"])
        try await GatewayFixture.with(apis: [api]) { gateway in
            for (origin, isAllowed) in [
                ("https://app.example", true), ("http://localhost:3000", true), ("https://evil.example", false),
                ("null", false),
            ] {
                let preflight = try await gateway.send(
                    .OPTIONS, "/hello", headers: ["Origin": origin, "Access-Control-Request-Method": "POST"])
                let answer = try await gateway.send(.POST, "/hello", headers: ["Origin": origin], body: [1])
                for headers in [preflight.headers, answer.headers] {
                    #expect(headers["access-control-allow-origin"] == (isAllowed ? [origin] : []))
                }
                #expect(answer.headers["vary"] == ["Origin"])
            }
        }
    }

    @Test("A8: OPTIONS without a preflight lists the methods")
    func options() async throws {
        try await GatewayFixture.with { gateway in
            let answer = try await gateway.send(.OPTIONS, "/hello")
            #expect(answer.status == 204 && answer.headers["allow"] == ["POST, OPTIONS"])
        }
    }

    @Test(
        "N5: an origin that is not allowed is 403 before its body is read, with every method; also null and two origins",
        arguments: ["POST /hello", "GET /hello/1", "HEAD /hello/1", "DELETE /hello/1", "OPTIONS /hello", "PUT /hello"],
        ["https://evil.example", "null", "https://app.example.evil.example", "http://app.example", ""])
    func foreign(_ request: String, _ origin: String) async throws {
        let api = APISpecification.test(allowOrigins: ["https://app.example"])
        try await GatewayFixture.with(apis: [api]) { gateway in
            try await RawConnection.open(port: gateway.port) { connection in
                // The caller is answered although it waits for 100 Continue and never sends its body.
                try await connection.send(
                    "\(request) HTTP/1.1\r\nHost: h\r\nOrigin: \(origin)\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
                )
                let answer = try await connection.readToEnd()
                #expect(answer.hasPrefix("HTTP/1.1 403 "), "\(answer)")
                #expect(!answer.lowercased().contains("access-control-allow-origin"))
            }
            try await RawConnection.open(port: gateway.port) { connection in
                try await connection.send(
                    "\(request) HTTP/1.1\r\nHost: h\r\nOrigin: https://app.example\r\nOrigin: \(origin)\r\nConnection: close\r\n\r\n"
                )
                #expect(try await connection.readToEnd().hasPrefix("HTTP/1.1 403 "))
            }
            #expect(try await gateway.claim().isEmpty)
        }
    }

    @Test(
        "N5: the 403 of a foreign origin does not wait for a body that was announced",
        arguments: [2, 16_000, 100_000_000])
    func foreignWithoutBody(length: Int) async throws {
        let api = APISpecification.test(allowOrigins: ["https://app.example"])
        // Whatever waited for the body would wait longer than the test may last.
        let limits = HTTPServerLimits(bodyGrace: .seconds(600), lingerTime: .milliseconds(100))
        try await GatewayFixture.with(apis: [api], limits: limits) { gateway in
            for (path, status) in [("/hello", 403), ("/unknown", 404)] {
                try await RawConnection.open(port: gateway.port) { connection in
                    try await connection.send(
                        "POST \(path) HTTP/1.1\r\nHost: h\r\nOrigin: https://evil.example\r\nContent-Length: \(length)\r\n\r\n"
                    )
                    #expect(try await connection.readResponse().status == status)
                    // And the body is not waited for without a limit.
                    _ = try await connection.readToEnd()
                }
            }
        }
    }

    @Test("N5: allowed origins, and callers that are no page, are served")
    func allowed() async throws {
        let api = APISpecification.test(allowOrigins: ["https://app.example"])
        try await GatewayFixture.with(apis: [api, .test(name: "any")]) { gateway in
            for (path, headers) in [
                ("/hello", ["Origin": "https://APP.example"]), ("/hello", [:]), ("/any", ["Origin": "null"]),
                ("/any", ["Origin": "https://evil.example"]),
            ] as [(String, HTTPHeaders)] {
                let answer = try await gateway.send(.POST, path, headers: headers, body: [1])
                #expect(answer.status == 200, "\(path) \(headers)")
            }
        }
    }

    @Test("A8: the preflight of an unknown path succeeds, so that the browser shows the 404 of the request itself")
    func unknown() async throws {
        try await GatewayFixture.with { gateway in
            let headers: HTTPHeaders = [
                "Origin": "https://app.example", "Access-Control-Request-Method": "DELETE",
                "Access-Control-Request-Headers": "content-type",
            ]
            let preflight = try await gateway.send(.OPTIONS, "/unknown/1", headers: headers)
            #expect(preflight.status == 204 && preflight.headers["access-control-allow-origin"] == ["*"])
            #expect(preflight.headers["access-control-allow-methods"][0].contains("DELETE"))
            let plain = try await gateway.send(.OPTIONS, "/unknown", headers: ["Origin": "https://app.example"])
            #expect(plain.status == 404 && plain.headers["access-control-allow-origin"] == ["*"])
        }
    }

    @Test(
        "A8: answers that are made before it is known which API is meant have the CORS headers too",
        arguments: [
            ("GET /\(String(repeating: "a", count: 17_000)) HTTP/1.1\r\nHost: h\r\n\r\n", 414),
            ("GET / HTTP/1.1\r\nHost: h\r\nX: \(String(repeating: "a", count: 70_000))\r\n\r\n", 431),
            ("GET / HTTP/1.1\r\n\r\n", 400), ("nonsense\r\n\r\n", 400), ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
            ("POST /hello HTTP/1.1\r\nHost: h\r\nOrigin: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ])
    func early(_ sample: (request: String, status: Int)) async throws {
        try await GatewayFixture.with { gateway in
            try await RawConnection.open(port: gateway.port) { connection in
                try await connection.send(sample.request)
                let answer = try await connection.readToEnd()
                #expect(answer.hasPrefix("HTTP/1.1 \(sample.status) "), "\(answer)")
                #expect(answer.contains("Access-Control-Allow-Origin: *"), "\(answer)")
            }
        }
    }
}
