import Core
import Support
import Wire

/// `cortex describe`: an API's replicas by state, and each of them (reference: cortex.md §9.3, §11).
enum DescribeView {
    /// States in the order they are shown; those in `hidden` only where there is one.
    private static let states: [(state: ReplicaState, title: String)] = [
        (.pending, "Pending"), (.creating, "Creating"), (.notReady, "NotReady"), (.ready, "Ready"),
        (.readyOutOfDate, "ReadyOutOfDate"), (.errImagePull, "ErrImagePull"), (.terminating, "Terminating"),
        (.failed, "Failed"), (.killed, "Killed"), (.killedOOM, "KilledOOM"), (.stalled, "Stalled"),
        (.unknown, "Unknown"),
    ]
    private static let hidden: Set<ReplicaState> = [.failed, .killed, .killedOOM, .errImagePull, .unknown, .stalled]

    static func render(
        _ api: APIDocument, environment: String, showsEnvironment: Bool, now: Timestamp, style: TextStyle
    ) -> String {
        var parts = [
            APIView.head(api, environment: environment, showsEnvironment: showsEnvironment, now: now, style: style)
        ]
        if let scaling = api.status?.autoscaling {
            parts[0] += "\n" + style.fact("autoscaling", scaling.why)
        }
        if let counts = api.status?.replicaCounts {
            var table = Table([.init("replica status", minimumWidth: 32), .init("replica count")])
            table.append(["Requested", "\(counts.requested)"])
            for (state, title) in states where counts[state] > 0 || !hidden.contains(state) {
                table.append([title, "\(counts[state])"])
            }
            parts.append(table.render(style))
        }
        if let replicas = api.status?.replicas, !replicas.isEmpty {
            parts.append(self.replicas(replicas, now: now).render(style))
            parts += lastLines(of: replicas, style)
        }
        return parts.joined(separator: "\n\n")
    }

    /// What containers of replicas that are not ready wrote last; of many alike the first few are enough.
    private static func lastLines(of replicas: [ReplicaDocument], _ style: TextStyle) -> [String] {
        replicas.filter { $0.lastLogLines?.isEmpty == false }.prefix(3).map { replica in
            ([style.bold("last lines of \(replica.id)")] + (replica.lastLogLines ?? []).map { "  \($0.inOneLine)" })
                .joined(separator: "\n")
        }
    }

    static func title(of state: ReplicaState) -> String {
        states.first { $0.state == state }?.title ?? state.rawValue
    }

    private static func replicas(_ replicas: [ReplicaDocument], now: Timestamp) -> Table {
        var table = Table(
            ["replica", "status", "restarts", "in flight", "age"].map { .init($0) } + [.init("reason", isText: true)])
        for replica in replicas.sorted(by: { ($0.startedAt, $0.id) < ($1.startedAt, $1.id) }) {
            table.append([
                replica.id, title(of: replica.state), "\(replica.restarts)", "\(replica.inFlight)",
                Age.since(seconds: replica.startedAt, now: now), replica.reason ?? "",
            ])
        }
        if replicas.allSatisfy({ $0.reason?.isEmpty ?? true }) { table.remove(column: "reason") }
        return table
    }
}
