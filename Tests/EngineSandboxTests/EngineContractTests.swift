import Core
import EngineConformance
import Foundation
import Subprocess
import TestSupport
import Testing

@testable import EngineSandbox

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

@Suite("The sandbox engine keeps what every engine promises", .timeLimit(.minutes(5)))
struct SandboxConformanceTests {
    static let capabilities: Set<EngineCapability> =
        ControlGroups.present().hasMemory
        ? [.readOnlyRoot, .startFailure, .systemCallFilter, .memoryLimit]
        : [.readOnlyRoot, .startFailure, .systemCallFilter]

    @Test("engine contract", arguments: EngineCheck.all(for: capabilities))
    func contract(_ check: EngineCheck) async throws {
        try await SandboxFixture.with { (fixture) async throws in
            try await check(fixture.conformance)
        }
    }
}

@Suite("The sandbox engine needs no root", .timeLimit(.minutes(5)))
struct SandboxOrdinaryUserTests {
    /// The suite above once more, in a process of its own as `nobody`. Run by an ordinary user, the suite above was
    /// that already.
    @Test("U1: an ordinary user gets the same")
    func ordinaryUser() async throws {
        guard geteuid() == 0 else { return }
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let run = try await Subprocess.run(
            .path("/usr/bin/setpriv"),
            arguments: [
                "--reuid=65534", "--regid=65534", "--clear-groups", own, "--testing-library", "swift-testing",
                "--filter", "SandboxConformanceTests|SandboxIsolationTests|SandboxConnectionTests",
            ],
            environment: .inherit.updating(["HOME": "/tmp", "TMPDIR": "/tmp"]), output: .string(limit: 4 << 20),
            error: .string(limit: 4 << 20))
        let text = run.standardOutput + run.standardError
        #expect(run.terminationStatus.isSuccess, "\(text.suffix(6000))")
        #expect(text.contains("engine contract"))
    }
}
