import Client
import Core
import Support
import Wire

/// Watches deployed APIs until each is ready or has failed, with a line of progress on standard error.
struct DeployWatcher {
    let client: OperatorClient
    let context: CommandContext
    let limit: Duration

    private static let period: Duration = .seconds(1)
    /// How often in a row the platform may be away: the time that a restart takes.
    private static let failuresAllowed = 60

    /// - Throws: ``PlatformError`` with all that failed, or `timed_out`.
    func run(_ names: [String]) async throws {
        let start = context.clock.instant()
        let progress = ProgressLine(context.console)
        defer { progress.clear() }
        var machines = names.map { (name: $0, progress: DeployProgress()) }
        var failures: [String] = []
        var away = 0
        while !machines.isEmpty {
            var waiting: [String] = []
            var rest: [(name: String, progress: DeployProgress)] = []
            for var machine in machines {
                guard let api = try await describe(machine.name, &away) else {
                    waiting.append("\(machine.name): the platform does not answer")
                    rest.append(machine)
                    continue
                }
                switch machine.progress.look(at: api, now: context.clock.instant()) {
                case .ready:
                    progress.clear()
                    context.console.note("\(machine.name) is ready" + (api.endpoint.map { ": \($0)" } ?? ""))
                case .failed(let reason):
                    failures.append(reason)
                case .waiting(let line):
                    waiting.append(line)
                    rest.append(machine)
                }
            }
            machines = rest
            guard !machines.isEmpty else { break }
            guard context.clock.instant() - start < limit else {
                failures += zip(machines, waiting).map { machine, line in
                    "not ready after \(Age.text(of: limit)): \(line); see why with: cortex describe \(machine.name)"
                }
                break
            }
            progress.show(waiting.joined(separator: "; "))
            try await context.clock.sleep(for: Self.period)
        }
        guard failures.isEmpty else {
            // One may have failed long before another: all of them are reported.
            throw PlatformError(
                machines.isEmpty ? .containerFailed : .timedOut,
                failures.map(\.inOneLine).joined(separator: "\nerror: "))
        }
    }

    /// The API's status; `nil` while the platform, which may be restarting, is away.
    private func describe(_ name: String, _ away: inout Int) async throws -> APIDocument? {
        do {
            let api = try await client.describe(name)
            away = 0
            return api
        } catch let error as PlatformError where error.isPassing && away < Self.failuresAllowed {
            away += 1
            return nil
        }
    }
}

/// The decision of `deploy --wait` for one API: ready, failed, or still waiting and for what.
///
/// A replica that fails is started again, so a failure counts only when it lasts.
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
        // Their pods belong to jobs.
        if APIKind.withJobs.contains(APITable.kind(of: api)) { return .ready }
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
