import Core
import EngineDocker
import Foundation
import PodmanSupport
import Subprocess
import Synchronization
import TestSupport
import Testing

/// Pulls from the `docker-registry` of the distribution, with a password.
@Suite("Pulling from a registry", .serialized, .timeLimit(.minutes(5)))
struct RegistryTests {
    @Test("C12: an image is pulled with the credentials of Docker's file, and progress is told")
    func pull() async throws {
        try await withRegistry { harness, registry in
            try await push("app:1", harness, registry)
            try credentials("right", harness, registry)
            let plan = harness.plan([
                ContainerPlan(name: "api", image: "\(registry)/app:1", command: ["sh", "-c", "echo pulled"])
            ])
            let told = Mutex<[String]>([])
            try await harness.engine.prepare(plan) { line in told.withLock { $0.append(line) } }
            #expect(told.withLock { $0.first } == "Pulling \(registry)/app:1")
            #expect(told.withLock { $0.last } == "Pulled \(registry)/app:1")
            try await harness.engine.prepare(plan) { _ in Issue.record("it is there already") }
            try await harness.engine.start(plan)
            #expect(try await eventually { try await harness.exit("api", of: plan.id)?.code == 0 })
            #expect(try await harness.lines("api", of: plan.id) == ["pulled"])

            let missing = await failure("missing:1", harness, registry)
            #expect(missing?.code == .imageUnavailable)
            #expect(missing?.message.contains("missing:1") == true)
            #expect(missing?.message.contains("Check its name and tag") == true, "\(missing?.message ?? "")")

            try await harness.podman.command(["rmi", "--force", "\(registry)/app:1"])
            try credentials("wrong", harness, registry)
            let wrong = await failure("app:1", harness, registry)
            #expect(wrong?.code == .imageUnavailable)
            #expect(wrong?.message.contains("docker login \(registry) again") == true, "\(wrong?.message ?? "")")

            try FileManager.default.removeItem(atPath: harness.engine.configuration.dockerConfigDirectory)
            let none = await failure("app:1", harness, registry)
            #expect(none?.message.contains("run docker login \(registry)") == true, "\(none?.message ?? "")")
        }
    }

    private func failure(_ image: String, _ harness: EngineHarness, _ registry: String) async -> PlatformError? {
        let plan = harness.plan([ContainerPlan(name: "api", image: "\(registry)/\(image)")])
        return await #expect(throws: PlatformError.self) { try await harness.engine.prepare(plan) { _ in } }
    }

    private func credentials(_ password: String, _ harness: EngineHarness, _ registry: String) throws {
        let folder = harness.engine.configuration.dockerConfigDirectory
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let auth = Data("me:\(password)".utf8).base64EncodedString()
        try #"{"auths":{"\#(registry)":{"auth":"\#(auth)"}}}"#.write(
            toFile: folder + "/config.json", atomically: true, encoding: .utf8)
    }

    private func push(_ image: String, _ harness: EngineHarness, _ registry: String) async throws {
        let name = "\(registry)/\(image)"
        try await harness.podman.command(["tag", "localhost/cortex-test-busybox:1", name])
        try await harness.podman.command(["push", "--tls-verify=false", "--creds", "me:right", name])
        try await harness.podman.command(["untag", "localhost/cortex-test-busybox:1", name])
    }

    /// Runs the registry while `body` runs.
    private func withRegistry(_ body: @escaping @Sendable (EngineHarness, String) async throws -> Void) async throws {
        try await EngineHarness.with { harness in
            let registry = "127.0.0.1:\(harness.podman.registryPort)"
            let folder = harness.folder.path
            // bcrypt of `right`.
            let crypt = try await run(
                .name("perl"), arguments: ["-e", #"print crypt("right", "\$2y\$05\$abcdefghijklmnopqrstuu")"#],
                output: .string(limit: 200), error: .discarded)
            try "me:\(crypt.standardOutput)\n".write(toFile: folder + "/htpasswd", atomically: true, encoding: .utf8)
            let configuration = """
                version: 0.1
                log: {level: error}
                storage: {filesystem: {rootdirectory: \(folder)/registry}}
                http: {addr: "\(registry)"}
                auth: {htpasswd: {realm: test, path: \(folder)/htpasswd}}
                """
            try configuration.write(toFile: folder + "/registry.yml", atomically: true, encoding: .utf8)
            _ = try await run(
                .name("docker-registry"), arguments: ["serve", folder + "/registry.yml"], input: .none,
                output: .discarded, error: .discarded
            ) { execution in
                do {
                    try await Self.answering(harness.podman.registryPort)
                    try await body(harness, registry)
                } catch {
                    try execution.send(signal: .kill)
                    throw error
                }
                try execution.send(signal: .kill)
            }
        }
    }

    private static func answering(_ port: Int) async throws {
        let answers = try await eventually {
            let socket = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
            defer { close(socket) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(UInt16(port).bigEndian)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            return withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
        }
        guard answers else {
            throw PlatformError(
                .setup, "docker-registry does not start: apt-get install --no-install-recommends docker-registry")
        }
    }
}
