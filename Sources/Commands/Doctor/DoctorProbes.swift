import AsyncHTTPClient
import Client
import Core
import EngineSandbox
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Platform
import Subprocess
import Support
import Wire

/// The checks of `doctor` as functions, so that its decisions can be tested without such a machine.
struct DoctorProbes: Sendable {
    /// The use of a port of this machine.
    enum Port: Sendable, Equatable {
        case free
        case cortex
        case taken
        /// Something else prevents listening, such as a missing right.
        case denied(String)
    }

    enum Folder: Sendable, Equatable {
        case writable
        /// It will be made; its nearest parent can be written.
        case absent
        case notWritable
        case notAFolder
    }

    /// Asks an engine's socket; the engine's name and version, or why it does not answer.
    var engine: @Sendable (_ socket: String) async -> Result<String, DoctorFault>
    /// What an engine that answers can enforce; `nil` where it does not say.
    var abilities: @Sendable (_ socket: String) async -> EngineAbilities? = { _ in nil }
    /// Whether this user is root.
    var isRoot: @Sendable () -> Bool = { true }
    /// What the sandbox engine can enforce for this user.
    var sandboxAbilities: @Sendable () async -> SandboxAbilities
    /// Whether a sandbox can be made: bubblewrap is there and may make namespaces.
    var sandbox: @Sendable () async -> Result<String, DoctorFault>
    var port: @Sendable (Int) async -> Port
    /// Bytes free where a folder is, or would be.
    var freeSpace: @Sendable (_ folder: String) -> Int64?
    /// The size of the disk, where it is known.
    var totalSpace: @Sendable (_ folder: String) -> Int64? = { _ in nil }
    var folder: @Sendable (_ path: String) -> Folder
    /// The mode of a file; `nil` when there is none.
    var mode: @Sendable (_ path: String) -> UInt16?
}

/// Why a probe failed, and what to do.
struct DoctorFault: Error, Sendable, Equatable {
    var reason: String
    var advice: String
}

extension DoctorProbes {
    /// Checks this machine. Blocking checks run on threads of their own.
    static func live() -> DoctorProbes {
        DoctorProbes(
            engine: { await askEngine(socket: $0) },
            abilities: { await askAbilities(socket: $0) },
            isRoot: { geteuid() == 0 },
            sandboxAbilities: { await offThread { SandboxAbilities.present() } },
            sandbox: { await trySandbox() },
            port: { await askPort($0) },
            freeSpace: { DiskSpace(near: $0)?.free },
            totalSpace: { DiskSpace(near: $0)?.total },
            folder: { folder($0) },
            mode: { mode($0) })
    }

    // MARK: Engines

    private struct EngineVersion: Decodable {
        struct Component: Decodable {
            var name: String?
            var version: String?

            enum CodingKeys: String, CodingKey {
                case name = "Name"
                case version = "Version"
            }
        }

        var version: String?
        var components: [Component]?

        enum CodingKeys: String, CodingKey {
            case version = "Version"
            case components = "Components"
        }
    }

    private static func askEngine(socket path: String) async -> Result<String, DoctorFault> {
        guard FileManager.default.fileExists(atPath: path) else {
            return .failure(
                DoctorFault(
                    reason: "no socket at \(path)", advice: "start Docker or Podman, or install bubblewrap"))
        }
        guard access(path, R_OK | W_OK) == 0 else {
            return .failure(
                DoctorFault(
                    reason: "\(path) may not be opened by you",
                    advice: "join its group, for example: sudo usermod -aG docker $USER (then log in again)"))
        }
        do {
            let version = try await get(EngineVersion.self, "/v1.41/version", socket: path)
            let name = version.components?.first?.name?.replacingOccurrences(of: " Engine", with: "") ?? "an engine"
            let engine = "\(name) \(version.version ?? "")".trimmingCharacters(in: .whitespaces)
            return .success((engine + runtime(version.components ?? [])).inOneLine)
        } catch {
            return .failure(
                DoctorFault(
                    reason: "nothing that is an engine answers at \(path)",
                    advice: "start it, for example: sudo systemctl start docker"))
        }
    }

    private static func askAbilities(socket path: String) async -> EngineAbilities? {
        // An engine that does not say is judged by what holds for all of them.
        try? await get(EngineAbilities.self, "/v1.41/info", socket: path)
    }

    private static func get<Answer: Decodable>(
        _ type: Answer.Type, _ target: String, socket path: String
    ) async throws -> Answer {
        guard let url = URL(httpURLWithSocketPath: path, uri: target) else {
            throw PlatformError(.setup, "\(path) is no path of a socket")
        }
        let reply = try await Transport.with { transport in
            var request = HTTPClientRequest(url: url.absoluteString)
            // Engines written in Go refuse a request without one.
            request.headers.add(name: "Host", value: "engine")
            return try await transport.send(
                request, timeout: .seconds(5), limit: 1 << 20, peer: Peer(address: path, environment: "engine"))
        }
        return try JSONDecoder().decode(type, from: Data(buffer: reply.body))
    }

    /// The program that runs containers, with its version: holes in it are holes in every container.
    private static func runtime(_ components: [EngineVersion.Component]) -> String {
        for component in components {
            let name = component.name ?? ""
            guard ["runc", "crun"].contains(where: name.contains) else { continue }
            let runtime = name.contains("crun") ? "crun" : "runc"
            // Docker says `1.1.5`, Podman `runc version 1.1.5+ds1` and more lines.
            let words = (component.version ?? "").split(whereSeparator: \.isWhitespace)
            guard let version = words.first(where: { $0.first?.isNumber == true })?.prefix(32) else { continue }
            return " with \(runtime) \(version)" + (runtime == "runc" ? advice(runc: version) : "")
        }
        return ""
    }

    /// The versions that closed CVE-2025-31133, the last way out of a container.
    static func advice(runc version: Substring) -> String {
        let numbers = version.prefix { $0.isNumber || $0 == "." }.split(separator: ".").compactMap { Int($0) }
        guard numbers.count == 3 else { return "" }
        let isMended =
            numbers.lexicographicallyPrecedes([1, 3, 0])
            ? !numbers.lexicographicallyPrecedes([1, 2, 8]) : !numbers.lexicographicallyPrecedes([1, 3, 3])
        return isMended ? "" : " (check that your system's package closes CVE-2024-21626 and CVE-2025-31133)"
    }

    private static func trySandbox() async -> Result<String, DoctorFault> {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":")
        guard
            let program = folders.map({ folder -> String in "\(folder)/bwrap" }).first(where: { access($0, X_OK) == 0 })
        else {
            return .failure(
                DoctorFault(
                    reason: "bubblewrap (bwrap) is not installed",
                    advice: "install it, for example: apt install bubblewrap"))
        }
        do {
            let result = try await run(
                .name("bwrap"),
                arguments: ["--unshare-user", "--unshare-all", "--ro-bind", "/", "/", "--die-with-parent", "true"],
                output: .discarded, error: .string(limit: 4096))
            if !result.terminationStatus.isSuccess {
                let reason = result.standardError.prefix(300).description.inOneLine
                return .failure(
                    DoctorFault(
                        reason: "bubblewrap cannot make a sandbox: \(reason.trimmingCharacters(in: .whitespaces))",
                        advice: "allow user namespaces: sudo sysctl -w kernel.unprivileged_userns_clone=1"
                            + " (Ubuntu: kernel.apparmor_restrict_unprivileged_userns=0)"))
            }
        } catch {
            return .failure(DoctorFault(reason: "\(program) cannot be run", advice: "install bubblewrap again"))
        }
        return .success(
            "bubblewrap works (\(program)); its pods reach Cortex alone, no network outside; \(PodUsers.summary());"
                + " they share the kernel of this machine")
    }

    // MARK: Ports

    private static func askPort(_ port: Int) async -> Port {
        guard (1...65_535).contains(port) else { return .denied("it is no port number") }
        do {
            let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .bind(host: "127.0.0.1", port: port).get()
            try await channel.close()
            return .free
        } catch let error as IOError where error.errnoCode == EADDRINUSE {
            return await isCortex(port) ? .cortex : .taken
        } catch let error as IOError {
            return .denied(String(cString: strerror(error.errnoCode)))
        } catch {
            return .denied("\(error)")
        }
    }

    /// The operator identifies itself; the gateway answers an unknown path with a Cortex error.
    private static func isCortex(_ port: Int) async -> Bool {
        let address = "http://127.0.0.1:\(port)"
        let reply = try? await Transport.with { transport in
            try await transport.send(
                HTTPClientRequest(url: "\(address)/verifycortex"), timeout: .seconds(5), limit: 1 << 16,
                peer: Peer(address: address, environment: "local"))
        }
        guard let reply else { return false }
        if reply.status == .ok { return Data(buffer: reply.body).first == UInt8(ascii: "{") }
        return (try? JSONDecoder().decode(ErrorDocument.self, from: Data(buffer: reply.body))) != nil
    }

    // MARK: Files

    /// The nearest folder that exists.
    private static func folder(_ path: String) -> Folder {
        let existing = DiskSpace.nearest(path)
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: existing, isDirectory: &isDirectory), isDirectory.boolValue else {
            return .notAFolder
        }
        guard access(existing, W_OK | X_OK) == 0 else { return .notWritable }
        return existing == URL(fileURLWithPath: path).standardizedFileURL.path ? .writable : .absent
    }

    private static func mode(_ path: String) -> UInt16? {
        var information = stat()
        guard stat(path, &information) == 0 else { return nil }
        return UInt16(information.st_mode & 0o7777)
    }

    private static func offThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: body()) }
        }
    }
}
