import Core
import Foundation
import NIOHTTP1
import Support
import Synchronization

extension DockerClient {
    /// A container as the list shows it.
    struct ContainerSummary: Sendable, Decodable {
        var id: String
        /// Each with a slash before it.
        var names: [String]?
        var labels: [String: String]?
        var state: String?
        enum CodingKeys: String, CodingKey {
            case id = "Id"
            case names = "Names"
            case labels = "Labels"
            case state = "State"
        }
    }

    /// A container in full, as far as we care.
    struct ContainerDetails: Sendable, Decodable {
        struct State: Sendable, Decodable {
            var status: String?
            var running: Bool?
            var outOfMemory: Bool?
            var exitCode: Int?
            var error: String?
            var startedAt: String?
            var finishedAt: String?
            /// On the engine's machine; 0 or missing when it does not run.
            var processID: Int?
            enum CodingKeys: String, CodingKey {
                case status = "Status"
                case running = "Running"
                case outOfMemory = "OOMKilled"
                case exitCode = "ExitCode"
                case error = "Error"
                case startedAt = "StartedAt"
                case finishedAt = "FinishedAt"
                case processID = "Pid"
            }
        }
        struct Host: Sendable, Decodable {
            var memory: Int64?
            enum CodingKeys: String, CodingKey { case memory = "Memory" }
        }
        struct Settings: Sendable, Decodable {
            var labels: [String: String]?
            enum CodingKeys: String, CodingKey { case labels = "Labels" }
        }
        var id: String
        /// With a slash before it.
        var name: String?
        var state: State?
        var host: Host?
        var settings: Settings?
        enum CodingKeys: String, CodingKey {
            case id = "Id"
            case name = "Name"
            case state = "State"
            case host = "HostConfig"
            case settings = "Config"
        }

        var isRunning: Bool { state?.running ?? false }
    }

    /// `GET /containers/json`: all that carry every label, in any state, and how many of them could not be read.
    func containers(labels: [String]) async throws -> (objects: [ContainerSummary], leftOut: Int) {
        let query = [("all", "1"), ("filters", try Self.filters(["label": labels]))]
        return try await list(ContainerSummary.self, "/containers/json", query: query)
    }

    /// `GET /containers/{id}/json`, by id or name; `nil` when there is none.
    func container(_ id: String) async throws -> ContainerDetails? {
        let reply = try await call(.GET, "/containers/\(Self.encode(id))/json").succeeding(404)
        return reply.status == 404 ? nil : try reply.decode(ContainerDetails.self)
    }

    /// `POST /containers/create`
    ///
    /// - Returns: the id; of the one that has the name, if it is `owned` by the caller.
    func createContainer(
        _ name: String, body: JSONValue, owned: (ContainerDetails) -> Bool = { _ in false }
    ) async throws -> String {
        struct Document: Decodable {
            var id: String
            enum CodingKeys: String, CodingKey { case id = "Id" }
        }
        let reply = try await change(.POST, "/containers/create", query: [("name", name)], json: body)
        if !(200..<300).contains(reply.status), reply.status != 404, let existing = try await container(name) {
            // Docker says 409 to a name that is taken, Podman 500: what matters is who has it.
            if owned(existing) { return existing.id }
            throw DockerError(
                status: 409, message: "the name \(name) is taken by a container that this platform did not make")
        }
        return try reply.succeeding().decode(Document.self).id
    }

    /// `POST /containers/{id}/start`; one that runs already is fine.
    func startContainer(_ id: String) async throws {
        let path = "/containers/\(Self.encode(id))/start"
        _ = try await change(.POST, path).succeeding(304)
    }

    /// `POST /containers/{id}/stop`: its stop signal, then SIGKILL after `grace` (whole seconds, rounded up). Returns
    /// once it has ended. One that has ended or is gone is fine.
    func stopContainer(_ id: String, grace: Duration) async throws {
        let seconds = max(0, Int(grace.inSeconds.rounded(.up)))
        _ = try await call(
            .POST, "/containers/\(Self.encode(id))/stop", query: [("t", String(seconds))],
            timeout: grace + .seconds(60)
        ).succeeding(304, 404)
    }

    /// `POST /containers/{id}/wait`: the exit code, once the container has ended.
    func waitContainer(_ id: String, timeout: Duration) async throws -> Int {
        struct Document: Decodable {
            var code: Int?
            enum CodingKeys: String, CodingKey { case code = "StatusCode" }
        }
        let reply = try await call(.POST, "/containers/\(Self.encode(id))/wait", timeout: timeout)
        return try reply.succeeding().decode(Document.self).code ?? 0
    }

    /// `DELETE /containers/{id}` with force; returns once it is gone.
    ///
    /// Another removal may be at work (409), and Podman fails now and then while a container is just ending: both end
    /// by themselves. A removal that takes longer than two minutes fails with `timed_out`.
    func removeContainer(_ id: String) async throws {
        let path = "/containers/\(Self.encode(id))"
        try await withDeadline(.seconds(120), clock: clock) {
            for attempt in 1... {
                let reply = try await change(.DELETE, path, query: [("force", "1"), ("v", "1")])
                if reply.status == 404 { return }
                if (200..<300).contains(reply.status) { return }
                guard attempt < 20 else { throw DockerError(status: reply.status, body: reply.body) }
                if try await container(id) == nil { return }
                try await clock.sleep(for: .milliseconds(50 * min(attempt, 10)))
            }
        }
    }

    /// `GET /containers/{id}/logs`: standard output and error, multiplexed.
    ///
    /// `since` in seconds since the Unix epoch with a fraction; `tail` counts lines.
    func logs(_ id: String, follow: Bool, tail: Int?, since: String?) async throws -> ByteStream {
        var query = [("stdout", "1"), ("stderr", "1"), ("follow", follow ? "1" : "0")]
        query.append(("tail", tail.map { String(max(0, $0)) } ?? "all"))
        if let since { query.append(("since", since)) }
        return try await stream(.GET, "/containers/\(Self.encode(id))/logs", query: query)
    }

    /// A call that makes an engine work. A caller that is cancelled returns at once; the call itself continues to its
    /// end, since the engine does so in any case.
    private func change(
        _ method: HTTPMethod, _ path: String, query: [(String, String)] = [], json: JSONValue? = nil
    ) async throws -> Reply {
        try await gate.run {
            let work = Task {
                try await call(method, path, query: query, json: json, timeout: .seconds(120))
            }
            let number = inFlight.add(work)
            Task {
                _ = await work.result
                inFlight.remove(number)
            }
            // The call has a limit of its own; this one only lets a cancelled caller go.
            return try await withTimeLimit(.seconds(300), clock: clock) { try await work.value }
        }
    }

    /// Waits until the changes that are under way now have ended: what they make can be found then. At most two
    /// minutes.
    func settle() async {
        for work in inFlight.all { _ = await work.result }
    }

    /// Changes whose answer has not come yet.
    final class InFlight: Sendable {
        private let works = Mutex<(next: Int, all: [Int: Task<Reply, any Error>])>((0, [:]))

        var all: [Task<Reply, any Error>] { works.withLock { Array($0.all.values) } }

        func add(_ work: Task<Reply, any Error>) -> Int {
            works.withLock {
                $0.next += 1
                $0.all[$0.next] = work
                return $0.next
            }
        }

        func remove(_ number: Int) { works.withLock { _ = $0.all.removeValue(forKey: number) } }
    }

    /// The JSON text of a `filters` parameter.
    static func filters(_ filters: [String: [String]]) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: try encoder.encode(filters), as: UTF8.self)
    }
}

extension DockerClient {
    /// A command inside a container, as the engine has it.
    struct ExecDetails: Sendable, Decodable {
        var running: Bool?
        var exitCode: Int?
        /// On the engine's machine; 0 or missing when it has ended.
        var processID: Int?
        var canRemove: Bool?
        enum CodingKeys: String, CodingKey {
            case running = "Running"
            case exitCode = "ExitCode"
            case processID = "Pid"
            case canRemove = "CanRemove"
        }
    }

    /// `POST /containers/{id}/exec`
    func createExec(_ container: String, command: [String], user: String? = nil) async throws -> String {
        struct Document: Decodable {
            var id: String
            enum CodingKeys: String, CodingKey { case id = "Id" }
        }
        var body: JSONValue = ["AttachStdout": true, "AttachStderr": true, "Cmd": .strings(command)]
        if let user { body["User"] = .string(user) }
        let reply = try await call(.POST, "/containers/\(Self.encode(container))/exec", json: body)
        return try reply.succeeding().decode(Document.self).id
    }

    /// `POST /exec/{id}/start`: the multiplexed output; it ends with the command.
    func startExec(_ id: String) async throws -> ByteStream {
        try await stream(.POST, "/exec/\(Self.encode(id))/start", json: ["Detach": false, "Tty": false])
    }

    /// `GET /exec/{id}/json`
    func exec(_ id: String) async throws -> ExecDetails {
        try await call(.GET, "/exec/\(Self.encode(id))/json").succeeding().decode(ExecDetails.self)
    }
}

/// Short forms for the documents that the Docker API takes.
extension JSONValue {
    /// An array of strings.
    static func strings(_ values: [String]) -> JSONValue { .array(values.map(JSONValue.string)) }

    /// An object whose values are strings.
    static func strings(_ values: [String: String]) -> JSONValue { .object(values.mapValues(JSONValue.string)) }

    /// The text of a string; empty for anything else.
    var text: String {
        guard case .string(let text) = self else { return "" }
        return text
    }

    /// The member of an object; `nil` removes it. For anything but an object, reading gives `nil` and writing does
    /// nothing.
    subscript(key: String) -> JSONValue? {
        get {
            guard case .object(let members) = self else { return nil }
            return members[key]
        }
        set {
            guard case .object(var members) = self else { return }
            members[key] = newValue
            self = .object(members)
        }
    }
}
