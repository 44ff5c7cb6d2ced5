import Core
import Foundation
import NIOHTTP1

extension DockerClient {
    /// A container as the list shows it.
    struct ContainerSummary: Sendable, Decodable {
        var id: String
        var labels: [String: String]?
        var state: String?
        enum CodingKeys: String, CodingKey {
            case id = "Id"
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
            enum CodingKeys: String, CodingKey {
                case status = "Status"
                case running = "Running"
                case outOfMemory = "OOMKilled"
                case exitCode = "ExitCode"
                case error = "Error"
                case startedAt = "StartedAt"
                case finishedAt = "FinishedAt"
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
        var state: State?
        var host: Host?
        var settings: Settings?
        enum CodingKeys: String, CodingKey {
            case id = "Id"
            case state = "State"
            case host = "HostConfig"
            case settings = "Config"
        }

        var isRunning: Bool { state?.running ?? false }
    }

    /// `GET /containers/json`: all that carry every label, in any state.
    func containers(labels: [String]) async throws -> [ContainerSummary] {
        let query = [("all", "1"), ("filters", try Self.filters(["label": labels]))]
        let reply = try await call(.GET, "/containers/json", query: query)
        return try reply.succeeding().decode([ContainerSummary]?.self) ?? []
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
        if !(200..<300).contains(reply.status), let existing = try await container(name), owned(existing) {
            // Docker says 409 to a name that is taken, Podman 500: what matters is who has it.
            return existing.id
        }
        return try reply.succeeding().decode(Document.self).id
    }

    /// `POST /containers/{id}/start`; one that runs already is fine.
    func startContainer(_ id: String) async throws {
        let path = "/containers/\(Self.encode(id))/start"
        _ = try await change(.POST, path).succeeding(304)
    }

    /// `POST /containers/{id}/stop`: its stop signal, then SIGKILL after `grace` (whole seconds, rounded up). Returns once it has ended.
    /// One that has ended or is gone is fine.
    func stopContainer(_ id: String, grace: Duration) async throws {
        let seconds = max(0, Int(grace.inSeconds.rounded(.up)))
        _ = try await call(
            .POST, "/containers/\(Self.encode(id))/stop", query: [("t", String(seconds))],
            timeout: grace + .seconds(60)
        ).succeeding(304, 404)
    }

    /// `DELETE /containers/{id}` with force; returns once it is gone.
    ///
    /// Another removal may be at work (409), and Podman fails now and then while a container is just ending: both end by themselves.
    func removeContainer(_ id: String) async throws {
        let path = "/containers/\(Self.encode(id))"
        for attempt in 1... {
            let reply = try await change(.DELETE, path, query: [("force", "1"), ("v", "1")])
            if reply.status == 404 { return }
            if (200..<300).contains(reply.status) { return }
            guard attempt < 20 else { throw DockerError(status: reply.status, body: reply.body) }
            if try await container(id) == nil { return }
            try await clock.sleep(for: .milliseconds(50 * min(attempt, 10)))
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

    /// A call that makes an engine work. Once it is sent its answer is waited for, though the caller be cancelled: the engine goes on with it
    /// in any case, and whoever cleans up must find what it made.
    private func change(
        _ method: HTTPMethod, _ path: String, query: [(String, String)] = [], json: JSONValue? = nil
    ) async throws -> Reply {
        try await gate.pass {
            try await Task { try await call(method, path, query: query, json: json, timeout: .seconds(120)) }.value
        }
    }

    /// The JSON text of a `filters` parameter.
    static func filters(_ filters: [String: [String]]) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: try encoder.encode(filters), as: UTF8.self)
    }
}
