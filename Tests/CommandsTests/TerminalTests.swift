import Client
import Core
import Foundation
import StubPlatform
import TestSupport
import Testing
import Wire

@testable import Commands

/// The built binary on a pseudo terminal: what a person reads.
@Suite("O2: words on a terminal", .timeLimit(.minutes(2)))
struct TerminalTests {
    private static let id = "0190f3a2-5d1c-7aaa-8bbb-1234567890ab"

    private func with(_ body: (StubPlatform, URL) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in
            try await StubPlatform.with { stub in
                try EnvironmentStore(directory: folder.path).update {
                    $0.put(Environment(name: "local", operatorEndpoint: stub.url, token: "secret"))
                }
                let api = Fixtures.api("hello", replicas: [Fixtures.replica("hello-a", .ready)], endpoint: stub.url)
                stub.on("GET /get/hello", .json(try Fixtures.json([api])))
                try await body(stub, folder)
            }
        }
    }

    private func shown(_ words: [String], _ folder: URL, columns: UInt16 = 80) async throws -> String {
        try await CortexProcess.onTerminal(
            words, folder: folder, columns: columns, environment: ["NO_COLOR": "1"], typing: []
        ).text.replacing("\r\n", with: "\n")
    }

    private static let bad = """
        - name: iris
          kind: AsyncAPI
          pod:
            containers:
              - name: api
                compute: {mem: 2GB}
                readiness_probe: {http_get: {port: 99999}}

        """

    @Test("Y3: a long diagnostic is broken between words, its further lines are indented; at 80 columns and at 50")
    func diagnostics() async throws {
        try await with { _, folder in
            try Self.bad.write(to: folder.appending(path: "cortex.yaml"), atomically: true, encoding: .utf8)
            #expect(
                try await shown(["deploy", "--check"], folder) == """
                    cortex.yaml:6:24: iris: pod.containers[0].compute.mem: must be a quantity of at
                        least 20Mi such as 512Mi, 2G or a number of bytes, found "2GB"
                     6 |         compute: {mem: 2GB}
                       |                        ^^^
                       = write 2Gi (by 1024) or 2G (by 1000)

                    cortex.yaml:7:44: iris: pod.containers[0].readiness_probe.http_get.port: must be
                        a whole number from 1 to 65535, found the number 99999
                     7 |         readiness_probe: {http_get: {port: 99999}}
                       |                                            ^^^^^

                    error: cortex.yaml has 2 problems

                    """)
            #expect(
                try await shown(["deploy", "--check"], folder, columns: 50).hasPrefix(
                    """
                    cortex.yaml:6:24: iris:
                        pod.containers[0].compute.mem: must be a
                        quantity of at least 20Mi such as 512Mi, 2G or
                        a number of bytes, found "2GB"
                     6 |         compute: {mem: 2GB}
                    """))
            let pipe = try await CortexProcess.run(["deploy", "--check"], folder: folder).errors
            #expect(pipe.split(separator: "\n").count == 3)
            let json = try await CortexProcess.run(["deploy", "--check", "-o", "json"], folder: folder).output
            #expect(json.contains("such as 512Mi, 2G or a number of bytes, found \\\"2GB\\\"; write 2Gi"), "\(json)")
        }
    }

    @Test("O2: so is every other error; in a pipe it is one line")
    func errors() async throws {
        try await with { stub, folder in
            stub.on("GET /get/hello", .error(404, "not_found", "no API is called that: see cortex get for all of them"))
            #expect(
                try await shown(["get", "hello", "-e", "local"], folder, columns: 40) == """
                    error: no API is called that: see cortex
                      get for all of them

                    """)
            let pipe = try await CortexProcess.run(["get", "hello", "-e", "local"], folder: folder)
            #expect(pipe.errors == "error: no API is called that: see cortex get for all of them\n")
        }
    }

    @Test("O2: describe never cuts a reason")
    func reasons() {
        let reason = "container main exited with code 1 (see its logs), and will be started again in 3 minutes"
        let broken = ReplicaStatus(
            id: "hello-b", state: .failed, reason: reason, restarts: 2, startedAt: Fixtures.now - .seconds(30))
        var api = Fixtures.api("hello", replicas: [broken], endpoint: "http://127.0.0.1:8889/hello")
        api.status?.autoscaling = ScalingDocument([
            ScalingDecision(
                at: Fixtures.now, current: 1, replicas: 1, reason: .steady, inFlight: 0,
                steps: .init(
                    average: 0, target: 4, raw: 0, load: 0, tolerance: 0, downscaleFactor: 0, upscaleFactor: 0,
                    bounds: 1, downscaleStabilization: 1, upscaleStabilization: 1))
        ])
        let style = TextStyle(isTerminal: true, hasColor: false, size: .init(columns: 60, rows: 24))
        let text = DescribeView.render(api, environment: "x", showsEnvironment: false, now: Fixtures.now, style: style)
        #expect(
            text.contains(
                """
                replica   status   restarts   in flight   age
                hello-b   Failed   2          0           30s
                  container main exited with code 1 (see its logs), and will
                  be started again in 3 minutes
                """), "\(text)")
        #expect(
            text.contains(
                """
                autoscaling: 1 replica: 0 requests on average, 4 for each
                  replica, would need 0; min_replicas is 1

                """), "\(text)")
        #expect(text.split(separator: "\n").allSatisfy { $0.count <= 60 })
    }

    @Test("O2: doctor and health keep what they found in its column")
    func column() {
        var report = DoctorReport()
        report.problem("gateway port", "8889 is taken by another program", advice: "choose another: cortex up --port 0")
        let style = TextStyle(isTerminal: true, hasColor: false, size: .init(columns: 42, rows: 24))
        #expect(
            report.render(style) == """
                ✗ gateway port   8889 is taken by another
                                 program
                                 choose another: cortex up
                                 --port 0
                """)
        #expect(report.render(.plain).split(separator: "\n").count == 2)
    }

    @Test("O2: -o is the operator's URL for env configure, as in the original: a format there is a usage error")
    func configureFormat() async throws {
        try await with { _, folder in
            let words = ["env", "configure", "x", "-o", "json"]
            let process = try await CortexProcess.run(words, folder: folder)
            #expect(process.status == 2)
            #expect(process.errors.hasPrefix("error: -o is the operator's URL here; the format is --output json.\n"))
        }
    }

    @Test("O1: the gateway's address given as the operator's is an error that names the difference")
    func gatewayAddress() async throws {
        try await with { stub, folder in
            stub.on("GET /verifycortex", .error(404, "not_found", "there is no API at this path"))
            let words = ["env", "configure", "x", "-o", stub.url]
            let process = try await CortexProcess.run(words, folder: folder)
            #expect(process.status == 1)
            #expect(process.errors.contains("is not a Cortex operator; check the URL: the operator's port is 8888"))
        }
    }

    @Test("O2: a folder given as a file of APIs is an error that names the next command")
    func folders() async throws {
        try await with { _, folder in
            let process = try await CortexProcess.run(["deploy", "."], folder: folder)
            #expect(process.errors == "error: . is a folder; name the file in it: cortex deploy ./cortex.yaml\n")
        }
    }

    @Test("N8, C5: a result is escaped on a terminal, and goes byte for byte anywhere else")
    func hostileResult() async throws {
        try await with { stub, folder in
            let result = "{\"a\":\r\"x\u{9B}2J\u{7F}\u{202E}\"}"
            stub.on(
                "GET /hello/\(Self.id)", .json(#"{"id":"\#(Self.id)","status":"completed","result":"# + result + "}"))
            let words = ["result", "hello", Self.id]
            let onTerminal = try await shown(words, folder)
            #expect(onTerminal == "{\"a\":\n" + #""x\u009b2J\u007f\u202e"}"# + "\n")
            let piped = try await CortexProcess.run(words, folder: folder).output
            #expect(piped == result + "\n")
        }
    }

    @Test("O3: an interrupted wait prints the command that waits again")
    func interrupted() async throws {
        try await with { stub, folder in
            stub.on("POST /hello", .json(#"{"id":"\#(Self.id)"}"#))
            stub.on("GET /hello/\(Self.id)", StubPlatform.Response(parts: [], staysOpen: true))
            let seen = try await CortexProcess.onTerminal(
                ["submit", "hello", "-d", "{}", "--wait"], folder: folder, typing: [("id: \(Self.id)", "\u{03}")])
            let plain = seen.text.replacing("\r\n", with: "\n")
            #expect(plain.contains("\nwait for it: cortex result hello \(Self.id) --wait\n"), "\(plain)")
            #expect(seen.status != 0)
        }
    }
}
