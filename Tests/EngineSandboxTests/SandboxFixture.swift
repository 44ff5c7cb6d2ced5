import Core
import EngineConformance
import Foundation
import Logging
import Support
import TestSupport

@testable import EngineSandbox

/// A sandbox engine in a folder of its own.
struct SandboxFixture {
    let root: URL
    var configuration: SandboxConfiguration

    /// `cortex-pod-init`, which lies beside the tests' own executable.
    static let podInit: String = {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        let beside = URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("cortex-pod-init")
            .path
        if FileManager.default.isExecutableFile(atPath: beside) { return beside }
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return package.appendingPathComponent(".build/debug/cortex-pod-init").path
    }()

    /// Runs the body with an empty folder; whatever pods are left are killed.
    static func with(_ body: (SandboxFixture) async throws -> Void) async throws {
        try await withTemporaryDirectory { root in
            // Longer than a socket address: every test proves that such data directories work.
            let data = root.appendingPathComponent("data-" + String(repeating: "x", count: 110))
            try FileManager.default.createDirectory(at: data, withIntermediateDirectories: true)
            let fixture = SandboxFixture(
                root: root,
                configuration: SandboxConfiguration(
                    directory: data.appendingPathComponent("pods").path,
                    gatewaySocket: data.appendingPathComponent("gateway.sock").path,
                    operatorSocket: data.appendingPathComponent("operator.sock").path, podInit: podInit))
            let outcome: Result<Void, any Error>
            do { outcome = .success(try await body(fixture)) } catch { outcome = .failure(error) }
            for pod in (try? FileManager.default.contentsOfDirectory(atPath: fixture.configuration.directory)) ?? [] {
                try await Supervisor(configuration: fixture.configuration).remove(fixture.folder(pod))
            }
            try outcome.get()
        }
    }

    func folder(_ pod: String) -> PodFolder { PodFolder(directory: configuration.directory, pod: pod) }

    func engine() -> SandboxEngine {
        var quiet = Logger(label: "test")
        quiet.logLevel = .critical
        return SandboxEngine(configuration: configuration, clock: SystemClock(), logger: quiet)
    }

    func plan(_ containers: [ContainerPlan], id: String = "hello-\(UInt64.random(in: .min ... .max))") -> PodPlan {
        PodPlan(
            id: id, owner: .api(.init(name: "hello", apiID: "a", podID: "p", deploymentID: "d")),
            createdAt: Timestamp(seconds: 1),
            containers: containers, clientConfiguration: "x")
    }

    func shell(_ script: String, name: String = "api") -> ContainerPlan {
        ContainerPlan(name: name, command: ["sh", "-c", script])
    }

    /// The process id in `init.pid`.
    func supervisor(_ pod: String) throws -> pid_t {
        let text = try String(contentsOfFile: folder(pod).identity, encoding: .utf8)
        return pid_t(text.split(separator: " ").first ?? "") ?? 0
    }

    /// Folders, control groups and processes that name the pod.
    func leftovers(_ pod: String) -> [String] {
        let manager = FileManager.default
        let names = (try? manager.contentsOfDirectory(atPath: configuration.directory)) ?? []
        var left = names.filter { $0.contains(pod) }.map { "folder " + $0 }
        for parent in Set(ControlGroups.present().parents.values) {
            left += ((try? manager.contentsOfDirectory(atPath: parent)) ?? []).filter { $0.contains(pod) }
        }
        for name in (try? manager.contentsOfDirectory(atPath: "/proc")) ?? [] where Int(name) != nil {
            for file in ["cmdline", "mountinfo"] {
                let data = manager.contents(atPath: "/proc/\(name)/\(file)") ?? Data()
                let text = String(decoding: data, as: UTF8.self)
                if text.contains("/pods/" + pod) { left.append("process \(name) by its \(file)") }
            }
        }
        return left
    }

    var conformance: EngineFixture {
        EngineFixture(
            engine: engine(), anotherEngine: { engine() },
            container: { ContainerPlan(name: $0, command: [$1[0]], args: Array($1.dropFirst())) },
            gatewaySocket: configuration.gatewaySocket, operatorSocket: configuration.operatorSocket, folder: root,
            killInit: { kill(try supervisor($0), SIGKILL) }, leftovers: { leftovers($0) })
    }
}
