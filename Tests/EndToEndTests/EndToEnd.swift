import Core
import Foundation
import PodmanSupport
import TestSupport
import Testing

/// The built program, end to end, on both engines. All tests of this suite share one platform per engine; tests that
/// stop or kill a platform start their own.
@Suite("End to end", .platforms, .serialized, .timeLimit(.minutes(8)))
enum EndToEnd {
    @TaskLocal static var platforms: [Platform.EngineKind: Platform] = [:]

    static func platform(_ engine: Platform.EngineKind) throws -> Platform {
        try #require(platforms[engine])
    }

    /// The API that most tests call: eight requests at a time; the header `X-Do` selects the answer.
    static func echo(_ engine: Platform.EngineKind) throws -> TestAPI {
        TestAPI(platform: try platform(engine), name: "echo")
    }
}

struct PlatformsTrait: SuiteTrait, TestScoping {
    var isRecursive: Bool { false }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        try await Platform.with(.sandbox) { sandbox async throws in
            try await Platform.with(.podman) { podman async throws in
                for platform in [sandbox, podman] {
                    try await platform.deploy("echo", api: "networking: {endpoint: /echo}", pod: "max_concurrency: 8")
                }
                try await EndToEnd.$platforms.withValue([.sandbox: sandbox, .podman: podman]) {
                    try await function()
                }
            }
        }
    }
}

extension Trait where Self == PlatformsTrait {
    static var platforms: Self { Self() }
}

/// An API of a platform under test.
struct TestAPI: Sendable {
    let platform: Platform
    let name: String

    var url: String { "\(platform.addresses.gateway)/\(name)" }

    func submit(
        _ body: String, do action: String? = nil, headers: [(String, String)] = [],
        within limit: Duration = .seconds(120)
    ) async throws -> String {
        try await submit(Array(body.utf8), do: action, headers: headers, within: limit)
    }

    /// POSTs and returns the id.
    func submit(
        _ body: [UInt8], do action: String? = nil, headers: [(String, String)] = [],
        within limit: Duration = .seconds(120)
    ) async throws -> String {
        let answer = try await HTTP.post(
            url, body, headers: headers + (action.map { [("X-Do", $0)] } ?? []), within: limit)
        guard answer.status == 200, let id = answer.json?["id"].string else {
            throw PlatformError(.internal, "submit answered \(answer.status): \(answer.text)")
        }
        return id
    }

    func read(_ id: String) async throws -> HTTP.Answer { try await HTTP.get("\(url)/\(id)") }

    /// Waits until a request has ended, and returns its document.
    func ended(_ id: String) async throws -> HTTP.Answer {
        let deadline = ContinuousClock.now + .seconds(90)
        while true {
            let answer = try await HTTP.get("\(url)/\(id)?wait=20")
            let status = answer.json?["status"].string ?? "?"
            if !["in_queue", "in_progress"].contains(status) { return answer }
            if ContinuousClock.now > deadline {
                throw PlatformError(.timedOut, "still \(status): \(try await platform.cli("describe", name).output)")
            }
        }
    }

    /// Submits and waits for the end.
    func call(_ body: String, do action: String? = nil, headers: [(String, String)] = []) async throws -> HTTP.Answer {
        try await ended(try await submit(body, do: action, headers: headers))
    }

    /// Submits, waits, and returns the result; fails the test if it did not complete.
    func result(_ body: String, do action: String? = nil, headers: [(String, String)] = []) async throws -> JSON {
        let answer = try await call(body, do: action, headers: headers)
        let document = try #require(answer.json)
        #expect(document["status"].string == "completed", "\(answer.text)")
        return document["result"]
    }
}

extension Platform {
    static let fixtures = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures").path

    /// `cortex.yaml` of an API whose container is `Fixtures/server.py`. The texts are lines of YAML at their
    /// indentation.
    func yaml(_ name: String, api: String = "", pod: String = "", container: String = "", more: String = "")
        async throws
        -> String
    {
        func indent(_ text: String, by count: Int) -> String {
            text.split(separator: "\n").map { String(repeating: " ", count: count) + $0 + "\n" }.joined()
        }
        let image =
            engine == .podman ? "        image: \(try await TestImage.python())\n" : ""
        return """
            - name: \(name)
              kind: AsyncAPI
            \(indent(api, by: 2))  pod:
            \(indent(pod, by: 4))    containers:
                  - name: main
            \(image)        command: [python3, /app/server.py]
                    volumes: ["\(Self.fixtures):/app:ro"]
            \(indent(container, by: 8))\(indent(more, by: 6))
            """
    }

    /// Deploys such an API with the CLI and waits until it is ready.
    @discardableResult
    func deploy(
        _ name: String, api: String = "", pod: String = "", container: String = "", more: String = "", wait: Bool = true
    ) async throws -> TestAPI {
        let file = folder.appending(path: "\(name).yaml")
        try await yaml(name, api: api, pod: pod, container: container, more: more)
            .write(to: file, atomically: true, encoding: .utf8)
        let output = try await cli(["deploy", file.path] + (wait ? ["--wait"] : []))
        guard output.status == 0 else {
            throw PlatformError(.internal, "deploy failed: \(output.output) \(output.errors)")
        }
        return TestAPI(platform: self, name: name)
    }

    /// The document of the API from `cortex describe NAME -o json`.
    func describe(_ name: String) async throws -> JSON? {
        JSON(try await cli("describe", name, "-o", "json").output.utf8)?[0]
    }

    /// Runs `body` with such an API, which is deleted afterwards.
    func with(
        _ name: String, api: String = "", pod: String = "", container: String = "", more: String = "",
        wait: Bool = true, _ body: (TestAPI) async throws -> Void
    ) async throws {
        let deployed = try await deploy(name, api: api, pod: pod, container: container, more: more, wait: wait)
        do {
            try await body(deployed)
        } catch {
            Issue.record("\(try await cli("describe", name).output)")
            _ = try await cli("delete", name, "-f")
            throw error
        }
        _ = try await cli("delete", name, "-f")
    }
}
