import Core
import NIOHTTP1
import Operator
import TestSupport
import Testing
import Wire

@Suite("Access")
struct AccessTests {
    static let routes: [(HTTPMethod, String)] = [
        (.GET, "/info"), (.POST, "/deploy"), (.POST, "/refresh/iris"), (.DELETE, "/delete/iris"), (.GET, "/get"),
        (.GET, "/get/iris"), (.GET, "/get/iris/x"), (.GET, "/describe/iris"), (.GET, "/logs/iris"),
        (.GET, "/requests/iris"), (.POST, "/retry/iris/x"), (.POST, "/split/iris"),
    ]

    @Test("O1: every route but the open ones needs the token")
    func unauthorised() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            let before = fixture.orchestrator.applied
            for (method, path) in Self.routes {
                for headers: HTTPHeaders in [
                    [:], ["Authorization": "Bearer wrong"], ["Authorization": "Bearer "],
                    ["Authorization": "Basic \(Fixture.token)"], ["X-Cortex-Authorization": "wrong"],
                ] {
                    let reply = try await fixture.call(method, path, headers: headers, signed: false)
                    #expect(reply.status == 401, "\(method) \(path)")
                    #expect(reply.headers.first(name: "WWW-Authenticate") == "Bearer realm=\"cortex\"")
                    #expect(try reply.error.kind == "unauthorized")
                    let expected =
                        headers.isEmpty
                        ? "the operator needs a token, sent as Authorization: Bearer TOKEN"
                        : "this is not a token that the operator accepts"
                    #expect(try reply.error.message == expected)
                }
            }
            #expect(fixture.orchestrator.applied == before)
            #expect(fixture.orchestrator.deleted.isEmpty)
        }
    }

    @Test(
        "O1: the token is taken as a bearer and in the original's header",
        arguments: [
            ["Authorization": "Bearer \(Fixture.token)"], ["Authorization": "bearer  \(Fixture.token)"],
            ["X-Cortex-Authorization": Fixture.token],
            ["Authorization": "Bearer wrong", "X-Cortex-Authorization": Fixture.token],
        ] as [HTTPHeaders])
    func authorised(headers: HTTPHeaders) async throws {
        try await Fixture.with { fixture in
            let reply = try await fixture.call(.GET, "/get", headers: headers, signed: false)
            #expect(reply.status == 200)
        }
    }

    @Test("U2: health, readiness and the original's probe are open")
    func open() async throws {
        try await Fixture.with { fixture in
            #expect(try await fixture.call(.GET, "/healthz", signed: false).body == #"{"status":"ok"}"# + "\n")
            #expect(try await fixture.call(.GET, "/verifycortex", signed: false).body == "{}\n")
            #expect(try await fixture.call(.GET, "/readyz", signed: false).status == 200)
            fixture.notReady.value = ["the gateway does not listen yet"]
            let reply = try await fixture.call(.GET, "/readyz", signed: false)
            #expect(reply.status == 503)
            #expect(try reply.error.message == "not ready yet: the gateway does not listen yet")
            #expect(try await fixture.call(.GET, "/healthz", signed: false).status == 200)
        }
    }

    @Test(
        "O6: another major.minor is refused, naming both; none is served",
        arguments: [
            (CortexVersion.current, true), ("1.0.7", true), ("1.0", true), ("1.1.0", false), ("0.42.1", false),
            ("2.0.0", false), ("", false), ("one", false), ("1", false), ("1.0x.0", true),
        ] as [(String, Bool)])
    func version(client: String, served: Bool) async throws {
        try await Fixture.with { fixture in
            let headers: HTTPHeaders = ["CortexAPIVersion": client]
            let reply = try await fixture.call(.GET, "/get", headers: headers)
            #expect(reply.status == (served ? 200 : 400))
            if !served {
                let error = try reply.error
                #expect(error.kind == "version_mismatch")
                #expect(error.message.contains(client) && error.message.contains(CortexVersion.current))
            } else {
                #expect(reply.headers["CortexAPIVersion"] == [CortexVersion.current])
            }
            #expect(try await fixture.call(.GET, "/info", headers: headers).status == 200)
        }
    }

    @Test("A4: unknown paths are 404, known ones with a wrong method 405 with Allow, and HEAD works")
    func paths() async throws {
        try await Fixture.with { fixture in
            #expect(try await fixture.call(.GET, "/").status == 404)
            #expect(try await fixture.call(.GET, "/get/a/b/c").status == 404)
            #expect(try await fixture.call(.GET, "/get/%zz").status == 404)
            let wrong = try await fixture.call(.GET, "/deploy")
            #expect(wrong.status == 405)
            #expect(wrong.headers.first(name: "Allow") == "POST")
            let head = try await fixture.call(.HEAD, "/get")
            #expect(head.status == 200 && head.body.isEmpty)
            #expect(try await fixture.call(.HEAD, "/logs/iris").status == 404)
        }
    }

    @Test("A4: an unknown API is 404 everywhere, and a name is not a way to break the answer")
    func unknownAPI() async throws {
        try await Fixture.with { fixture in
            for (method, path) in Self.routes where path.contains("iris") {
                let reply = try await fixture.call(method, path)
                #expect(reply.status == 404, "\(method) \(path)")
                #expect(try reply.error.kind == "not_found")
            }
            let strange = try await fixture.call(.GET, "/get/%22%0A%00%3Cb%3E")
            #expect(strange.status == 404)
            #expect(try !strange.error.message.contains("\n"))
        }
    }
}
