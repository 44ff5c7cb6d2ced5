import Core
import Foundation
import NIOCore
import StubPlatform
import Testing
import Wire

@testable import Client

@Suite("O1: the operator's client", .timeLimit(.minutes(2)))
struct OperatorClientTests {
    private func with<Result: Sendable>(
        token: String? = "secret", version: String = CortexVersion.current,
        _ body: @Sendable (StubPlatform, OperatorClient) async throws -> Result
    ) async throws -> Result {
        try await StubPlatform.with { stub in
            let environment = Environment(name: "test", operatorEndpoint: stub.url, token: token)
            return try await Transport.with { transport in
                try await body(stub, OperatorClient(environment: environment, transport: transport, version: version))
            }
        }
    }

    private func failure(_ body: () async throws -> some Any) async -> PlatformError? {
        do {
            _ = try await body()
            return nil
        } catch {
            return error as? PlatformError
        }
    }

    @Test("O6: every call carries the version and the token")
    func headers() async throws {
        try await with(version: "9.9.9") { stub, client in
            stub.on("GET /get", .json("[]"))
            #expect(try await client.apis().isEmpty)
            let request = try #require(stub.last("GET /get"))
            #expect(request[header: "CortexAPIVersion"] == "9.9.9")
            #expect(request[header: "Authorization"] == "Bearer secret")
        }
    }

    @Test("O6: a server of another major.minor is an error even where it does not refuse; info and health are read")
    func otherServer() async throws {
        try await with(version: "1.2.3") { stub, client in
            stub.on("GET /get", .init(parts: ["[]"], headers: [("CortexAPIVersion", "1.3.0")]))
            let error = await failure { try await client.apis() }
            #expect(error?.code == .versionMismatch)
            #expect(
                error?.message
                    == "the client has version 1.2.3 and the server has version 1.3.0, which do not understand each other:"
                    + " use a client of version 1.3, or bring the server to version 1.2")
            stub.on("GET /get", .init(parts: ["[]"], headers: [("CortexAPIVersion", "1.2.9")]))
            let apis = try await client.apis()
            #expect(apis.isEmpty)
            let health = #"{"status":"healthy","api_version":"1.3.0","components":[]}"#
            stub.on("GET /health", .init(parts: [health], headers: [("CortexAPIVersion", "1.3.0")]))
            let document = try await client.health()
            #expect(document.status == .healthy)
        }
    }

    @Test(
        "O6: only the same major.minor is understood",
        arguments: [
            ("1.0.0", "1.0.9-dev", true), ("1.0", "1.0.0", true), ("1.1.0", "1.0.0", false), ("0.1.0", "1.1.0", false),
            ("x", "1.0.0", false), ("1.0.0", "", false),
        ])
    func versions(client: String, server: String, isUnderstood: Bool) {
        var isRefused = false
        do {
            try VersionHandshake.check(client: client, server: server)
        } catch {
            isRefused = true
        }
        #expect(isRefused != isUnderstood)
    }

    @Test("O1: names and parameters are encoded")
    func encoding() async throws {
        try await with { stub, client in
            _ = await failure { try await client.refresh("a/b c", force: true) }
            _ = await failure { try await client.delete("x", keepCache: true) }
            let id = try #require(RequestID("0190f3a2-5d1c-7aaa-8bbb-1234567890ab"))
            _ = await failure { try await client.requests("x", status: .failed, before: id, limit: 5) }
            _ = await failure { try await client.retry(id, api: "x") }
            #expect(
                stub.requests.map { "\($0.method) \($0.target)" } == [
                    "POST /refresh/a%2Fb%20c?force=true", "DELETE /delete/x?keepCache=true",
                    "GET /requests/x?limit=5&status=failed&before=\(id)", "POST /retry/x/\(id)",
                ])
        }
    }

    @Test("O1: a file is deployed as a form, with its name and folder")
    func deploy() async throws {
        try await with { stub, client in
            stub.on("POST /deploy", .json(#"[{"api":null,"message":"","error":"bad"}]"#))
            let upload = ConfigurationUpload(
                content: Array("- name: a # --cortex-form-0\n".utf8), fileName: "my file.yaml", directory: "/srv/x y")
            let results = try await client.deploy(upload, force: false)
            #expect(results.map(\.error) == ["bad"])
            let request = try #require(stub.requests.first)
            #expect(request.target == "/deploy?configFileName=my%20file.yaml&force=false&configDir=%2Fsrv%2Fx%20y")
            #expect(request[header: "Content-Type"] == "multipart/form-data; boundary=cortex-form-1")
            #expect(
                request.text
                    == "--cortex-form-1\r\nContent-Disposition: form-data; name=\"config\"; filename=\"config\"\r\n"
                    + "Content-Type: application/yaml\r\n\r\n- name: a # --cortex-form-0\n\r\n--cortex-form-1--\r\n")
        }
    }

    @Test(
        "A4: an error is what the operator says, by its kind",
        arguments: [
            (StubPlatform.Response.error(404, "not_found", "no API x"), PlatformError.Code.notFound, "no API x"),
            (.error(400, "configuration_invalid", "cortex.yaml:1:1: bad"), .configurationInvalid, "cortex.yaml:1:1"),
            (.error(400, "version_mismatch", "1.0 and 2.0"), .versionMismatch, "1.0 and 2.0"),
            (.error(401, "unauthorized", "no token"), .unauthorized, "cortex env configure test -o http"),
            (.error(400, "usage", "a server cannot decide that"), .badRequest, "cannot decide"),
            (.error(409, "new_kind", "something new"), .conflict, "something new"),
            (.json("<html>", status: 502), .unavailable, "502"),
            (.json("not json"), .connectionFailed, "cortex version"),
            (.cutOff, .connectionFailed, "closed the connection"),
        ])
    func errors(response: StubPlatform.Response, code: PlatformError.Code, text: String) async throws {
        try await with { stub, client in
            stub.on("GET /get", response)
            let error = await failure { try await client.apis() }
            #expect(error?.code == code)
            #expect(error?.message.contains(text) == true, "\(error?.message ?? "")")
        }
    }

    @Test("O1: a refused connection names the address and what to do, at once")
    func refused() async throws {
        // A port that was free a moment ago may be another test's by now; nothing ever listens on this one.
        let url = "http://127.0.0.1:1"
        let environment = Environment(name: "gone", operatorEndpoint: url)
        let error = await failure {
            try await Transport.with { try await OperatorClient(environment: environment, transport: $0).info() }
        }
        #expect(error?.code == .connectionFailed)
        #expect(error?.message.contains("nothing answers at \(url) (environment gone)") == true)
        #expect(error?.message.contains("cortex up") == true)
    }

    @Test("O1: an endpoint that is no URL names the environment")
    func badEndpoint() async throws {
        let environment = Environment(name: "odd", operatorEndpoint: "ftp://x")
        let error = await failure {
            try await Transport.with { _ = try OperatorClient(environment: environment, transport: $0) }
        }
        #expect(error?.code == .setup)
        #expect(error?.message.contains("cortex env configure odd") == true)
    }

    @Test("O4: log lines come whole however the stream is cut; heartbeats are skipped")
    func logs() async throws {
        try await with { stub, client in
            stub.on(
                "GET /logs/hello",
                .init(
                    contentType: "application/x-ndjson",
                    parts: [
                        #"{"notice":"starting"}"# + "\n\n", #"{"replica":"r1","container":"c","#,
                        #""text":"ä one"}"# + "\n" + #"{"replica":"r1","container":"c","text":"two"}"# + "\n \n",
                        #"{"replica":"r2","container":"c","text":"last"}"#,
                    ]))
            var lines: [String] = []
            let options = LogOptions(follow: true, tail: 5, replica: "r 1", container: "c")
            for try await batch in try await client.logs("hello", options: options) {
                lines += batch.map { $0.notice ?? "\($0.replica ?? "") \($0.text ?? "")" }
            }
            #expect(lines == ["starting", "r1 ä one", "r1 two", "r2 last"])
            #expect(stub.requests.first?.target == "/logs/hello?follow=true&tail=5&replica=r%201&container=c")
        }
    }

    @Test("O4: every spelling of a log line is read alike, in the operator's order of members and in another one")
    func logSpellings() async throws {
        try await with { stub, client in
            func usual(_ text: String, replica: String = "r1") -> String {
                #"{"container":"c","replica":"\#(replica)","text":"\#(text)"}"# + "\n"
            }
            let body =
                usual("one") + usual("") + usual(#"a\"}b\\"#) + usual("ä ✓") + usual(#"\u0001"#)
                + usual("other", replica: "r2") + usual("again") + #"{"text":"t","replica":"r1","container":"c"}"#
                + "\n"
                + #"{"container":"c","replica":"r1","text":"x","notice":"n"}"# + "\n" + #"{"notice":"end"}"# + "\n"
                + #"{"error":{"kind":"engine_unavailable","message":"gone"}}"# + "\n"
            stub.on("GET /logs/hello", .init(contentType: "application/x-ndjson", parts: [body]))
            var lines: [String] = []
            let error = await failure {
                for try await batch in try await client.logs("hello", options: .init()) {
                    lines += batch.map { "\($0.replica ?? "-") \($0.text ?? "-") \($0.notice ?? "-")" }
                }
            }
            #expect(error?.code == .engineUnavailable)
            #expect(
                lines == [
                    "r1 one -", "r1  -", "r1 a\"}b\\ -", "r1 ä ✓ -", "r1 \u{1} -", "r2 other -", "r1 again -", "r1 t -",
                    "r1 x n", "- - end",
                ])
        }
    }

    @Test("O4: an error inside the stream ends it, and so does nonsense")
    func logErrors() async throws {
        try await with { stub, client in
            for (body, code) in [
                (#"{"error":{"kind":"engine_unavailable","message":"gone"}}"#, PlatformError.Code.engineUnavailable),
                ("nonsense", .connectionFailed), (String(repeating: "x", count: 200_000), .connectionFailed),
            ] {
                stub.on("GET /logs/hello", .init(parts: [body, "\n"]))
                let error = await failure {
                    for try await _ in try await client.logs("hello", options: .init()) {}
                }
                #expect(error?.code == code)
            }
            stub.on("GET /logs/hello", .error(404, "not_found", "no API hello"))
            #expect(await failure { try await client.logs("hello", options: .init()) }?.code == .notFound)
        }
    }

    @Test("O1: verifying tells a Cortex operator from something else")
    func verify() async throws {
        try await with { stub, client in
            stub.on("GET /verifycortex", .json("{}"), .json("<html>"))
            try await client.verify()
            #expect(await failure { try await client.verify() }?.code == .connectionFailed)
        }
    }
}
