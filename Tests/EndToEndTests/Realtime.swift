import Core
import Foundation
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

extension Platform {
    /// `cortex.yaml` of a RealtimeAPI whose container is `Fixtures/realtime.py`.
    ///
    /// - Parameters:
    ///   - environment: entries of `env`, such as `VERSION: "2"`.
    ///   - volumes: besides the fixture's.
    func realtimeYAML(
        _ name: String, api: [String] = [], pod: [String] = ["max_concurrency: 8"], container: [String] = [],
        environment: [String] = [], volumes: [String] = [], command: String = "[python3, /app/realtime.py]"
    ) async throws -> String {
        let image = engine == .podman ? ["image: \(try await TestImage.python())"] : []
        let mounts = (["\(Self.fixtures):/app:ro"] + volumes).map { "\"\($0)\"" }.joined(separator: ", ")
        let lines = [
            "command: \(command)", "volumes: [\(mounts)]", "env: {\(environment.joined(separator: ", "))}",
        ]
        return
            (["- name: \(name)", "  kind: RealtimeAPI"] + api.map { "  " + $0 } + ["  pod:"] + pod.map { "    " + $0 }
            + ["    containers:", "      - name: main"] + (image + lines + container).map { "        " + $0 })
            .joined(separator: "\n") + "\n"
    }

    /// Deploys a file with the CLI.
    func deploy(file text: String, wait: Bool = true) async throws {
        let file = folder.appending(path: "\(UUID().uuidString).yaml")
        try text.write(to: file, atomically: true, encoding: .utf8)
        let output = try await cli(["deploy", file.path] + (wait ? ["--wait"] : []))
        guard output.status == 0 else {
            throw PlatformError(.internal, "deploy failed: \(output.output) \(output.errors)")
        }
    }

    func delete(_ names: String...) async throws {
        for name in names { _ = try await cli("delete", name, "-f") }
    }

    /// A request to a path below an endpoint.
    func get(_ path: String, headers: [(String, String)] = []) async throws -> HTTP.Answer {
        try await HTTP.get(addresses.gateway + path, headers: headers)
    }

    /// The ids of the replicas of an API, as `describe` shows them.
    func replicas(of name: String) async throws -> [String] {
        try await describe(name)?["status"]["replicas"].array?.compactMap { $0["id"].string } ?? []
    }
}

extension HTTP.Answer {
    var origin: String? { headers.first(name: "X-Cortex-Origin") }
    /// The value of the member `error.kind` of a response of the platform.
    var kind: String? { json?["error"]["kind"].string }
}

/// Callers of `/hit` that run until they are stopped, each with one request at a time.
final class RealtimeCallers: Sendable {
    private struct State {
        var isStopped = false
        var number = 0
        /// Numbers that were answered by the container.
        var served: Set<Int> = []
        /// Everything else.
        var faults: [String] = []
        var versions: Set<String> = []
    }

    private let state = Mutex(State())

    var served: Set<Int> { state.withLock(\.served) }
    var faults: [String] { state.withLock(\.faults) }
    var versions: Set<String> { state.withLock(\.versions) }

    func stop() { state.withLock { $0.isStopped = true } }

    /// Runs `body` while `count` callers call `<endpoint>/hit/<number>`. With `untilFault`, a caller ends at its first
    /// fault.
    func run(
        _ count: Int, calling url: String, untilFault: Bool = false, while body: () async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<count { group.addTask { await self.call(url, untilFault: untilFault) } }
            defer { stop() }
            try await body()
            stop()
            try await group.waitForAll()
        }
    }

    private func call(_ url: String, untilFault: Bool) async {
        while true {
            let number: Int? = state.withLock {
                $0.number += 1
                return $0.isStopped ? nil : $0.number
            }
            guard let number else { return }
            var fault: String?
            do {
                let answer = try await HTTP.call(.GET, "\(url)/hit/\(number)", within: .seconds(30))
                if answer.status == 200, answer.origin == "api", answer.json?["hit"].string == "\(number)" {
                    state.withLock {
                        $0.served.insert(number)
                        $0.versions.insert(answer.json?["version"].string ?? "none")
                    }
                } else {
                    fault = "\(answer.status) \(answer.origin ?? "no origin"): \(answer.text)"
                }
            } catch {
                fault = "\(error)"
            }
            guard let fault else { continue }
            state.withLock { $0.faults.append(fault) }
            if untilFault { return }
        }
    }
}
