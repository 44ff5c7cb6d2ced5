package import Core
package import Foundation
import TestSupport
import Testing

/// An engine under test and the environment of the checks. Created for each check, or shared by checks that run one
/// after another.
package struct EngineFixture: Sendable {
    package var engine: any Engine
    /// Another instance on the same data, as after a restart of the platform.
    package var anotherEngine: @Sendable () async throws -> any Engine
    /// A container that runs this command line; `python3` and `sh` exist in it.
    package var container: @Sendable (_ name: String, _ command: [String]) -> ContainerPlan
    /// Where the engine expects that the gateway and the operator listen; the checks listen there themselves.
    package var gatewaySocket: String
    package var operatorSocket: String
    /// A folder of the server that containers may bind.
    package var folder: URL
    /// Kills the pod's `PodInit` with SIGKILL.
    package var killInit: @Sendable (_ pod: String) async throws -> Void
    /// What is left of a pod outside the engine's own list: processes, folders, control groups. Empty when nothing is.
    package var leftovers: @Sendable (_ pod: String) async throws -> [String]

    package init(
        engine: any Engine, anotherEngine: @escaping @Sendable () async throws -> any Engine,
        container: @escaping @Sendable (String, [String]) -> ContainerPlan, gatewaySocket: String,
        operatorSocket: String,
        folder: URL, killInit: @escaping @Sendable (String) async throws -> Void,
        leftovers: @escaping @Sendable (String) async throws -> [String]
    ) {
        self.engine = engine
        self.anotherEngine = anotherEngine
        self.container = container
        self.gatewaySocket = gatewaySocket
        self.operatorSocket = operatorSocket
        self.folder = folder
        self.killInit = killInit
        self.leftovers = leftovers
    }

    /// A killed process may have to wait in the kernel, for seconds while other network namespaces are removed.
    func expectNothingLeft(of pod: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let isGone = try await eventually { try await leftovers(pod) == [] }
        let left = isGone ? [] : try await leftovers(pod)
        #expect(isGone, "\(left)", sourceLocation: sourceLocation)
    }
}

extension EngineFixture {
    /// A plan with an id of its own.
    func plan(_ containers: [ContainerPlan]) -> PodPlan {
        PodPlan(
            id: "hello-\(UInt64.random(in: .min ... .max))",
            owner: .api(.init(name: "hello", apiID: "api-1", podID: "pod-1", deploymentID: "deployment-1")),
            createdAt: Timestamp(microseconds: 1_800_000_000_123_456),
            containers: containers, clientConfiguration: "# client configuration\nenvironments: []\n")
    }

    /// A container that runs ``Agent``.
    func agent(_ name: String = "api", host: String = "127.0.0.1", port: Int = 8080) -> ContainerPlan {
        container(name, ["python3", "-u", "-c", Agent.source, host, String(port)])
    }

    func shell(_ name: String, _ script: String) -> ContainerPlan {
        container(name, ["sh", "-c", script])
    }

    /// Starts a pod, runs the body, and stops the pod whatever happens.
    func withPod(_ containers: [ContainerPlan], _ body: (PodPlan) async throws -> Void) async throws {
        let plan = plan(containers)
        try await withPod(plan) { try await body(plan) }
    }

    func withPod(_ plan: PodPlan, _ body: () async throws -> Void) async throws {
        try await engine.prepare(plan) { _ in }
        try await engine.start(plan)
        do {
            try await body()
        } catch {
            try await engine.stop(pod: plan.id, grace: .zero)
            throw error
        }
        try await engine.stop(pod: plan.id, grace: .zero)
    }

    /// The pod as the engine lists it now.
    func observe(_ pod: String, by other: (any Engine)? = nil) async throws -> ObservedPod? {
        try await (other ?? engine).list().first { $0.id == pod }
    }

    /// How the container ended, once it has.
    func exit(of container: String, in pod: String) async throws -> ContainerExit? {
        let state = try await observe(pod)?.containers.first { $0.name == container }?.state
        guard case .exited(let exit) = state else { return nil }
        return exit
    }
}
