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
            var table = Table(["env", title, "live", "up-to-date", "last update"])
            for row in ofKind { table.append(cells(row, now: now)) }
            table.sort()
            if !showsEnvironment { table.remove(column: "env") }
            return table.render(style)
        }.joined(separator: "\n\n")
    }

    private static func cells(_ row: Row, now: Timestamp) -> [String] {
        let status = row.api.status
        return [
            row.environment, name(of: row.api), status.map { "\($0.ready)/\($0.requested)" } ?? "-",
            status.map { "\($0.upToDate)" } ?? "-",
            lastUpdated(row.api).map { Age.since(seconds: $0, now: now) } ?? "-",
        ]
    }

    static func name(of api: APIDocument) -> String { api.metadata?.name ?? api.spec?.name ?? "-" }

    static func kind(of api: APIDocument) -> APIKind { api.metadata?.kind ?? api.spec?.kind ?? .async }

    static func lastUpdated(_ api: APIDocument) -> Int64? { api.metadata?.lastUpdated ?? api.spec?.lastUpdated }
}
