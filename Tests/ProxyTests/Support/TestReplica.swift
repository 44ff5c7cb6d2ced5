import Core
import Support
import Synchronization
import TestSupport

@testable import Proxy

/// A replica without a pod.
struct TestReplica: Sendable {
    let ready: ReadyReplica
    let activity: LocalReplicaActivity

    init(_ id: String, activity: LocalReplicaActivity = LocalReplicaActivity()) {
        let specification = APISpecification(
            name: "api", networking: .init(endpoint: "/api"),
            kind: .realtime(.init(workload: Workload(pod: PodSpecification(port: 8080, containers: [])))))
        let time = Timestamp(seconds: 1)
        self.activity = activity
        ready = ReadyReplica(
            id: id,
            api: DeployedAPI(
                specification: specification, id: "1", specID: "1", podID: "1", deploymentID: "1",
                initialDeployment: time, lastUpdated: time),
            connector: NoConnector(), activity: activity)
    }

    var id: String { ready.id }
}

private struct NoConnector: Connector {
    func connect(port: Int) async throws -> CInt {
        throw PlatformError(.connectionFailed, "this replica has no pod")
    }
}

/// A waiting request that records what it got.
final class TestWaiter: GateWaiter {
    private let outcome = Mutex<[Result<ReplicaSlot, RefusalError>]>([])
    let name: Int

    struct RefusalError: Error {
        let refusal: GateRefusal
    }

    init(_ name: Int = 0) { self.name = name }

    func assigned(_ slot: ReplicaSlot) { outcome.withLock { $0.append(.success(slot)) } }
    func refused(_ refusal: GateRefusal) { outcome.withLock { $0.append(.failure(.init(refusal: refusal))) } }

    /// How often it was called.
    var calls: Int { outcome.withLock { $0.count } }
    var slot: ReplicaSlot? { outcome.withLock { try? $0.first?.get() } }
    var refusal: GateRefusal? {
        outcome.withLock { calls in
            guard case .failure(let error)? = calls.first else { return nil }
            return error.refusal
        }
    }
}

extension Gate.Admission {
    var slot: ReplicaSlot? {
        guard case .assigned(let slot) = self else { return nil }
        return slot
    }
    var isWaiting: Bool {
        guard case .waiting = self else { return false }
        return true
    }
    var refusal: GateRefusal? {
        guard case .refused(let refusal) = self else { return nil }
        return refusal
    }
}
