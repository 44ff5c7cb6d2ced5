import Core
import Wire

/// The decision of `deploy --wait` for one API: is it ready, must it be given up, or what is it waiting for.
///
/// A replica that fails is started again, so one look is no verdict: it counts only when it lasts.
struct DeployProgress {
    enum Verdict: Equatable {
        case ready
        case waiting(String)
        case failed(String)
    }

    /// How long a failure must last before it is believed, and the restarts after which it is believed at once.
    static let failingTime: Duration = .seconds(20)
    static let restarts = 3

    private static let failures: [ReplicaState] = [.errImagePull, .failed, .killed, .killedOOM, .stalled]

    private var failingSince: Instant?

    mutating func look(at api: APIDocument, now: Instant) -> Verdict {
        let name = APITable.name(of: api)
        guard let status = api.status else { return .waiting("\(name): waiting for its status") }
        if status.upToDate >= status.requested { return .ready }
        let replicas = status.replicas ?? []
        let failing = replicas.filter { Self.failures.contains($0.state) }
        guard let worst = failing.max(by: { $0.restarts < $1.restarts }) else {
            failingSince = nil
            return .waiting(Self.line(name, status, replicas))
        }
        let since = failingSince ?? now
        failingSince = since
        if worst.restarts >= Self.restarts || now - since >= Self.failingTime {
            let reason = worst.reason.map { ": \($0)" } ?? ""
            return .failed(
                "\(name) does not get ready: replica \(worst.id) is \(DescribeView.title(of: worst.state))\(reason);"
                    + " see why with: cortex logs \(name)")
        }
        return .waiting(Self.line(name, status, replicas))
    }

    private static func line(_ name: String, _ status: StatusDocument, _ replicas: [ReplicaDocument]) -> String {
        let reason = replicas.first { $0.state != .ready && !($0.reason?.isEmpty ?? true) }?.reason ?? status.reason
        let states = Set(replicas.map(\.state)).subtracting([.ready]).map(\.rawValue).sorted()
        var text = "\(name): \(status.upToDate)/\(status.requested) ready"
        if !states.isEmpty { text += ", \(states.joined(separator: ", "))" }
        if let reason, !reason.isEmpty { text += " (\(reason))" }
        return text
    }
}
