import Core
import NIOHTTP1

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
