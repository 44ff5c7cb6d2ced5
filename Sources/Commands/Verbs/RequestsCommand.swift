import ArgumentParser
import Client
import Core
import Support
import Wire

struct RequestsCommand: APICommand {
    static let kinds: Set<APIKind> = [.async]
    static let configuration = CommandConfiguration(
        commandName: "requests",
        abstract: "List an API's requests, newest first.",
        discussion: """
            Examples:
              cortex requests hello
              cortex requests hello --status failed --limit 20
            """)

    @OptionGroup var target: APIArgument
    @OptionGroup var environment: EnvironmentOption
    @Option(help: "Only requests with this status.")
    var status: RequestStatus?
    @Option(help: ArgumentHelp("Print at most this many.", valueName: "count"))
    var limit = 100
    @OptionGroup var format: OutputOption

    func validate() throws {
        guard (1...1_000_000).contains(limit) else { throw ValidationError("--limit must be 1 to 1000000.") }
    }

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment, announce: format.output == .pretty)
        let requests = try await context.withOperator(cluster) { client in
            try await WrongKind.explaining(client, api: target.api, isEmpty: \.isEmpty) { try await list(client) }
        }
        try context.show(requests, as: format.output) {
            RequestsView.render(requests, now: context.clock.now(), style: $0)
        }
    }
}

extension RequestsCommand {
    /// All requests that were asked for, page by page.
    private func list(_ client: OperatorClient) async throws -> [RequestDocument] {
        var found: [RequestDocument] = []
        var before: RequestID?
        while found.count < limit {
            let page = try await client.requests(
                target.api, status: status, before: before, limit: min(limit - found.count, Limits.listPage))
            found += page.requests
            guard let next = page.next, next != before, !page.requests.isEmpty else { break }
            before = next
        }
        return found
    }
}

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
