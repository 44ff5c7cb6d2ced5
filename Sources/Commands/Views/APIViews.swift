import Client
import Core
import Support
import Wire

/// APIs as a table, one for each kind (reference: cortex.md §9.3).
enum APITable {
    struct Row {
        var environment: String
        var api: APIDocument
    }

    /// The order in which kinds are listed, with the title of their column.
    private static let kinds: [(kind: APIKind, title: String)] = [
        (.batch, "batch api"), (.task, "task api"), (.realtime, "realtime api"), (.async, "async api"),
        (.trafficSplitter, "traffic splitter"),
    ]

    static func render(_ rows: [Row], showsEnvironment: Bool, now: Timestamp, style: TextStyle) -> String {
        kinds.compactMap { kind, title -> String? in
            let ofKind = rows.filter { self.kind(of: $0.api) == kind }
            guard !ofKind.isEmpty else { return nil }
            var table =
                switch kind {
                case .trafficSplitter: splitters(ofKind, title, now: now)
                case .batch, .task: jobs(ofKind, title, now: now)
                case .async, .realtime: apis(ofKind, title, now: now)
                }
            table.sort()
            if !showsEnvironment { table.remove(column: "env") }
            return table.render(style)
        }.joined(separator: "\n\n")
    }

    private static func apis(_ rows: [Row], _ title: String, now: Timestamp) -> Table {
        var table = Table(["env", title, "live", "up-to-date", "last update"])
        for row in rows { table.append([row.environment, name(of: row.api)] + state(of: row.api, now: now)) }
        return table
    }

    private static func jobs(_ rows: [Row], _ title: String, now: Timestamp) -> Table {
        var table = Table(["env", title, "running jobs", "latest job id", "last update"])
        for row in rows {
            table.append(
                [row.environment, name(of: row.api)] + JobTable.summary(of: row.api, now: now)
                    + [age(of: row.api, now: now)])
        }
        return table
    }

    private static func splitters(_ rows: [Row], _ title: String, now: Timestamp) -> Table {
        var table = Table(["env", title, "apis", "last update"].map { .init($0) } + [.init("state", isText: true)])
        for row in rows {
            let split = row.api.status?.split
            let isRolledBack = split?.state == .rolledBack
            table.append([
                row.environment, name(of: row.api), row.api.numTrafficSplitterTargets.map { "\($0)" } ?? "-",
                age(of: row.api, now: now), isRolledBack ? "\(split?.api ?? "a target") is rolled back" : "",
            ])
        }
        if rows.allSatisfy({ $0.api.status?.split?.state != .rolledBack }) { table.remove(column: "state") }
        return table
    }

    /// The columns live, up-to-date and last update; `nil` stands for an API that is not deployed.
    static func state(of api: APIDocument?, now: Timestamp) -> [String] {
        let status = api?.status
        return [
            status.map { "\($0.ready)/\($0.requested)" } ?? "-", status.map { "\($0.upToDate)" } ?? "-",
            api.map { age(of: $0, now: now) } ?? "-",
        ]
    }

    private static func age(of api: APIDocument, now: Timestamp) -> String {
        lastUpdated(api).map { Age.since(seconds: $0, now: now) } ?? "-"
    }

    static func name(of api: APIDocument) -> String { api.metadata?.name ?? api.spec?.name ?? "-" }

    static func kind(of api: APIDocument) -> APIKind { api.metadata?.kind ?? api.spec?.kind ?? .async }

    static func lastUpdated(_ api: APIDocument) -> Int64? { api.metadata?.lastUpdated ?? api.spec?.lastUpdated }
}

/// One API: its row, endpoint, requests and history, and with `verbose` the whole specification.
enum APIView {
    /// - Parameter deployed: the APIs of the platform, for the targets of a TrafficSplitter.
    static func render(
        _ api: APIDocument, deployed: [APIDocument] = [], environment: String, showsEnvironment: Bool, verbose: Bool,
        now: Timestamp, style: TextStyle
    ) throws -> String {
        var parts = [
            head(
                api, deployed: deployed, environment: environment, showsEnvironment: showsEnvironment, now: now,
                style: style)
        ]
        if let versions = api.apiVersions, !versions.isEmpty {
            var table = Table(["api id", "last deployed"])
            for version in versions {
                table.append([version.apiID, Age.since(seconds: version.lastUpdated, now: now)])
            }
            parts.append(table.render(style))
        }
        if verbose, let spec = api.spec {
            parts.append(style.bold("configuration") + "\n" + (try DocumentText.value(of: spec).yaml().trimmedEnd))
        }
        return parts.joined(separator: "\n\n")
    }

    /// The row and the facts below it; also what `describe` begins with.
    static func head(
        _ api: APIDocument, deployed: [APIDocument] = [], environment: String, showsEnvironment: Bool, now: Timestamp,
        style: TextStyle
    ) -> String {
        var facts: [String] = []
        if let endpoint = api.endpoint { facts.append(style.fact("endpoint", endpoint)) }
        if let queue = api.status?.queue {
            facts.append(style.fact("requests", "\(queue.inQueue) in queue, \(queue.inProgress) in progress"))
        }
        if let traffic = api.status?.requests { facts += TrafficView.facts(traffic, style) }
        if let reason = api.status?.reason { facts.append(style.fact("held back", reason)) }
        if APITable.kind(of: api) == .trafficSplitter {
            let table = SplitterView.table(
                api, deployed: deployed, environment: environment, showsEnvironment: showsEnvironment, now: now,
                style: style)
            let traffic = SplitterView.traffic(of: api, showsWeights: false, now: now, style: style)
            return ([table] + (facts.isEmpty ? [] : [facts.joined(separator: "\n")]) + [traffic])
                .joined(separator: "\n\n")
        }
        if APIKind.withJobs.contains(APITable.kind(of: api)) {
            let jobs = JobTable.render(
                JobTable.jobs(of: api), kind: APITable.kind(of: api), now: now, style: style)
            return facts.isEmpty ? jobs : jobs + "\n\n" + facts.joined(separator: "\n")
        }
        let table = APITable.render(
            [.init(environment: environment, api: api)], showsEnvironment: showsEnvironment, now: now, style: style)
        return facts.isEmpty ? table : table + "\n\n" + facts.joined(separator: "\n")
    }
}

extension String {
    /// This text without line ends at its end.
    var trimmedEnd: String {
        var text = self[...]
        while let last = text.last, last.isNewline { text.removeLast() }
        return String(text)
    }
}

/// `cortex describe`: an API's replicas by state, and each of them (reference: cortex.md §9.3, §11); of a
/// TrafficSplitter its targets.
enum DescribeView {
    /// States in the order of the table; those in `hidden` only if a replica has them.
    private static let states: [(state: ReplicaState, title: String)] = [
        (.pending, "Pending"), (.creating, "Creating"), (.notReady, "NotReady"), (.ready, "Ready"),
        (.readyOutOfDate, "ReadyOutOfDate"), (.errImagePull, "ErrImagePull"), (.terminating, "Terminating"),
        (.failed, "Failed"), (.killed, "Killed"), (.killedOOM, "KilledOOM"), (.stalled, "Stalled"),
        (.unknown, "Unknown"),
    ]
    private static let hidden: Set<ReplicaState> = [.failed, .killed, .killedOOM, .errImagePull, .unknown, .stalled]

    /// - Parameter deployed: the APIs of the platform, for the targets of a TrafficSplitter.
    static func render(
        _ api: APIDocument, deployed: [APIDocument] = [], environment: String, showsEnvironment: Bool, now: Timestamp,
        style: TextStyle
    ) -> String {
        var parts = [
            APIView.head(
                api, deployed: deployed, environment: environment, showsEnvironment: showsEnvironment, now: now,
                style: style)
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
        // A RealtimeAPI's replicas have figures of the last minute.
        let hasFigures = replicas.contains { $0.inside != nil }
        let titles = hasFigures ? ["inside", "2xx", "5xx", "p99"] : ["in flight"]
        var table = Table(
            (["replica", "status", "restarts"] + titles + ["age"]).map { .init($0) } + [.init("reason", isText: true)])
        for replica in replicas.sorted(by: { ($0.startedAt, $0.id) < ($1.startedAt, $1.id) }) {
            let figures = [
                "\(replica.inside ?? replica.inFlight)", "\(replica.success2xx ?? 0)", "\(replica.server5xx ?? 0)",
                TrafficFigure.milliseconds(replica.p99?.wrappedValue),
            ]
            table.append(
                [replica.id, title(of: replica.state), "\(replica.restarts)"]
                    + (hasFigures ? figures : ["\(replica.inFlight)"])
                    + [Age.since(seconds: replica.startedAt, now: now), replica.reason ?? ""])
        }
        if replicas.allSatisfy({ $0.reason?.isEmpty ?? true }) { table.remove(column: "reason") }
        return table
    }
}
