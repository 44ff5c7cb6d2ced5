import Core
import Foundation
import PodmanSupport
import TestSupport
import Testing

/// The built `cortex` program, run as a user would run it, on its own ports and folders.
final class Platform: Sendable {
    enum EngineKind: String, Sendable, CaseIterable, CustomTestStringConvertible {
        case sandbox
        case podman

        var testDescription: String { rawValue }
    }

    struct Addresses: Decodable, Sendable {
        var gateway: String
        var `operator`: String
    }

    let engine: EngineKind
    /// The Podman if `engine` is Podman.
    let podman: PrivatePodman?
    let folder: URL
    let addresses: Addresses
    private let process: ChildProcess

    var data: URL { folder.appending(path: "data") }
    var pid: Int32 { process.pid }

    private init(
        engine: EngineKind, podman: PrivatePodman?, folder: URL, addresses: Addresses, process: ChildProcess
    ) {
        self.engine = engine
        self.podman = podman
        self.folder = folder
        self.addresses = addresses
        self.process = process
    }

    /// The folder of the built programs.
    static let programs: URL = {
        // The test bundle is beside the programs.
        var url = URL(filePath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
        while url.path != "/", !FileManager.default.isExecutableFile(atPath: url.appending(path: "cortex").path) {
            url.deleteLastPathComponent()
        }
        return url
    }()

    static var cortex: URL { programs.appending(path: "cortex") }

    /// Starts the platform in `folder` and returns when `/readyz` succeeds.
    ///
    /// - Parameters:
    ///   - podman: another one than the one that all tests share.
    ///   - errors: the target of standard error, instead of the file that ``log`` reads.
    static func start(
        _ engine: EngineKind, on podman: PrivatePodman? = nil, in folder: URL, arguments: [String] = [],
        environment: [String: String] = [:], errors: ChildProcess.Stream? = nil
    ) async throws -> Platform {
        var podman = podman
        if engine == .podman, podman == nil { podman = try await PrivatePodman.shared() }
        var command = [
            "up", "--data-dir", folder.appending(path: "data").path, "--port", "0", "--operator-port", "0",
        ]
        switch engine {
        case .sandbox: command += ["--engine", "sandbox"]
        case .podman: command += ["--engine", "docker", "--engine-socket", podman?.socketPath ?? ""]
        }
        let addressFile = folder.appending(path: "data/addresses.json")
        try? FileManager.default.removeItem(at: addressFile)
        let process = try ChildProcess(
            cortex.path, command + arguments, environment: Self.environment(in: folder).merging(environment) { $1 },
            output: .file(folder.appending(path: "cortex.out").path),
            errors: errors ?? .file(folder.appending(path: "cortex.log").path))
        let isUp = try await eventually(within: .seconds(60)) {
            if !process.isRunning { return true }
            guard let data = try? Data(contentsOf: addressFile),
                let addresses = try? JSONDecoder().decode(Addresses.self, from: data)
            else { return false }
            return (try? await HTTP.get("\(addresses.operator)/readyz").status) == 200
        }
        guard isUp, process.isRunning else {
            let log = (try? String(contentsOf: folder.appending(path: "cortex.log"), encoding: .utf8)) ?? ""
            throw PlatformError(.setup, "cortex up did not get ready: \(log.suffix(2000))")
        }
        let addresses = try JSONDecoder().decode(Addresses.self, from: Data(contentsOf: addressFile))
        return Platform(engine: engine, podman: podman, folder: folder, addresses: addresses, process: process)
    }

    /// Runs `body` with a new platform, which is stopped afterwards.
    static func with(
        _ engine: EngineKind, arguments: [String] = [], _ body: (Platform) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { folder async throws in
            let platform = try await start(engine, in: folder, arguments: arguments)
            do {
                try await body(platform)
            } catch {
                Issue.record("log of the platform: \(platform.log.suffix(4000))")
                _ = try? await platform.stop()
                throw error
            }
            let status = try await platform.stop()
            #expect(status == 0, "cortex up exits 0 after SIGTERM; its log: \(platform.log.suffix(4000))")
        }
    }

    static func environment(in folder: URL) -> [String: String] {
        var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("CORTEX_") }
        environment["CORTEX_CLI_CONFIG_DIR"] = folder.appending(path: "cli").path
        environment["NO_COLOR"] = "1"
        return environment
    }

    var log: String { (try? String(contentsOf: folder.appending(path: "cortex.log"), encoding: .utf8)) ?? "" }
    var output: String { (try? String(contentsOf: folder.appending(path: "cortex.out"), encoding: .utf8)) ?? "" }

    /// Sends SIGTERM; returns the exit status.
    func stop() async throws -> Int32 {
        process.send(SIGTERM)
        return await process.wait()
    }

    /// Sends SIGKILL to the platform only.
    func kill() async {
        process.send(SIGKILL)
        _ = await process.wait()
    }

    func send(_ signal: Int32) { process.send(signal) }

    func wait() async -> Int32 { await process.wait() }

    /// Runs the CLI against this platform.
    func cli(_ arguments: String..., input: String? = nil) async throws -> ChildProcess.Output {
        try await cli(arguments, input: input)
    }

    func cli(_ arguments: [String], input: String? = nil) async throws -> ChildProcess.Output {
        try await ChildProcess.run(Self.cortex.path, arguments, environment: Self.environment(in: folder), input: input)
    }
}

/// The image of the tests' containers: this machine's Python, loaded once into the private Podman.
enum TestImage {
    private static let loading = Task {
        let archive = try await TestImages.python()
        try await PrivatePodman.shared().load(archive)
        return "localhost/cortex-test-python:1"
    }

    static func python() async throws -> String { try await loading.value }
}
