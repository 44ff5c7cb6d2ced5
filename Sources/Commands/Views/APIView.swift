import Client
import Core
import Support
import Wire

/// One API: its row, where it is reached, what waits, its history, and with `verbose` the whole specification.
enum APIView {
    static func render(
        _ api: APIDocument, environment: String, showsEnvironment: Bool, verbose: Bool, now: Timestamp, style: TextStyle
    ) throws -> String {
        var parts = [head(api, environment: environment, showsEnvironment: showsEnvironment, now: now, style: style)]
        if let versions = api.apiVersions, !versions.isEmpty {
            var table = Table(["api id", "last deployed"])
            for version in versions {
                table.append([version.apiID, Age.since(seconds: version.lastUpdated, now: now)])
            }
            parts.append(table.render(style))
        }
        if verbose, let spec = api.spec {
            parts.append(style.bold("configuration") + "\n" + (try JSONText.value(of: spec).yaml().trimmedEnd))
        }
        return parts.joined(separator: "\n\n")
    }

    /// The row and the facts below it; also what `describe` begins with.
    static func head(
        _ api: APIDocument, environment: String, showsEnvironment: Bool, now: Timestamp, style: TextStyle
    ) -> String {
        var facts: [String] = []
        if let endpoint = api.endpoint { facts.append(style.fact("endpoint", endpoint)) }
        if let queue = api.status?.queue {
            facts.append(style.fact("requests", "\(queue.inQueue) in queue, \(queue.inProgress) in progress"))
        }
        if let reason = api.status?.reason { facts.append(style.fact("held back", reason)) }
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
