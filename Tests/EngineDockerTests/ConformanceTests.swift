import Core
import EngineConformance
import EngineDocker
import Foundation
import PodmanSupport
import Testing

@Suite("EngineDocker keeps every promise of an engine, on Podman", .timeLimit(.minutes(5)))
struct ConformanceTests {
    private static let checks = EngineCheck.all(for: [.memoryLimit, .startFailure, .systemCallFilter])

    /// Pods of one installation, side by side.
    @Test(arguments: checks.filter { !isAlone($0) })
    func contract(_ check: EngineCheck) async throws {
        try await check(Self.fixture(try await Self.harness.value))
    }

    /// Each in an installation of its own.
    @Test(arguments: checks.filter { isAlone($0) })
    func contractAlone(_ check: EngineCheck) async throws {
        try await EngineHarness.with { try await check(Self.fixture($0)) }
    }

    /// Those that listen where the gateway and the operator do, and the one that starts the platform again.
    private static func isAlone(_ check: EngineCheck) -> Bool {
        check.name.hasPrefix("C10") || check.name.hasPrefix("U4: another instance")
    }

    /// It goes away with the private Podman.
    private static let harness = Task { try await EngineHarness.make(try await PrivatePodman.shared()) }

    private static func fixture(_ harness: EngineHarness) async throws -> EngineFixture {
        let python = try await python.value
        try await harness.podman.load(python)
        return EngineFixture(
            engine: harness.engine, anotherEngine: { try await harness.another() },
            container: { ContainerPlan(name: $0, image: python.tag, command: $1) },
            gatewaySocket: harness.engine.configuration.gatewaySocket,
            operatorSocket: harness.engine.configuration.operatorSocket, folder: harness.folder,
            killInit: { pod in
                try await harness.podman.command(["kill", "--signal", "KILL", "cortex-\(harness.id)-\(pod)"])
            },
            leftovers: { try await Self.leftovers($0, harness) })
    }

    private static let python = Task { try await TestImages.python() }

    /// Containers, the pod's folder, and processes that were started for it.
    private static func leftovers(_ pod: String, _ harness: EngineHarness) async throws -> [String] {
        var left = try await harness.podman.command(
            ["ps", "--all", "--filter", "label=cortex.pod=\(pod)", "--format", "container {{.Names}}"]
        ).split(separator: "\n").map(String.init)
        let folder = harness.folder.path + "/pods/" + pod
        if FileManager.default.fileExists(atPath: folder) { left.append("folder") }
        return left
    }
}
