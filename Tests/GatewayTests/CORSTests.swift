import Core
import NIOHTTP1
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
}
