import Core
import Support
import Wire

/// `cortex requests`: newest first.
enum RequestsView {
    static func render(_ requests: [RequestDocument], now: Timestamp, style: TextStyle) -> String {
        guard !requests.isEmpty else { return "no requests" }
        var table = Table(
            ["id", "status", "attempts", "submitted", "ended"].map { .init($0) } + [.init("error", isText: true)])
        for request in requests {
            table.append([
                request.id.description, request.status.rawValue, "\(request.attempts)",
                Age.since(rfc3339: request.submittedAt, now: now), Age.since(rfc3339: request.timestamp, now: now),
                request.error.map(FailureText.line) ?? "",
            ])
        }
        if requests.allSatisfy({ $0.error == nil }) { table.remove(column: "error") }
        return table.render(style)
    }
}

/// A request's failure for people.
enum FailureText {
    static func line(_ failure: RequestFailure) -> String {
        "\(failure.kind.rawValue): \(failure.message)"
    }

    /// All that is known, the container's answer included; without control characters but line ends.
    static func full(_ failure: RequestFailure, attempts: Int?) -> String {
        var text = line(failure).inOneLine
        if let attempts { text += " (attempts: \(attempts))" }
        if let body = failure.body, !body.isEmpty {
            let lines = body.split(separator: "\n", omittingEmptySubsequences: false).map { String($0).withoutControls }
            text += "\n" + lines.joined(separator: "\n").trimmedEnd
        }
        return text
    }
}
