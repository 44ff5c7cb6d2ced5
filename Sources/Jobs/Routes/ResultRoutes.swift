import Core
import HTTPServing
import NIOHTTP1

/// The results and the items of a Batch job (contract B8, B10).
extension JobRoutes {
    /// Where the next read goes on.
    private static let nextHeader = "X-Cortex-Next"
    /// How often a reader that follows is sent what is new.
    private static let followPause: Duration = .milliseconds(100)
    /// How many jobs a chain of retries may have.
    private static let chain = 1000

    /// `GET …/results`.
    func results(_ job: Job, _ request: IncomingRequest) async throws -> OutgoingResponse {
        let status = try word("status", request, ResultLines.Query.Status.self)
        let follow = try request.flag("follow")
        let order = try order(request)
        if try request.flag("merged") { return try await merged(job, status, order, request) }
        var cursor = ResultCursor(order: order)
        if let text = request.parameter("after") {
            guard let read = ResultCursor(text), request.parameter("order") == nil || read.order == order else {
                throw PlatformError(
                    .badRequest, "after must be the X-Cortex-Next of an earlier answer in the same order")
            }
            cursor = read
        }
        if cursor.order == .index {
            guard !job.status.isOpen else { throw Self.notSortable }
            guard !follow else { throw PlatformError(.badRequest, "follow and order=index exclude each other") }
        }
        let services = services
        let query = ResultLines.Query(after: cursor, status: status)
        var response = OutgoingResponse(status: .ok, headers: ["Content-Type": "application/jsonl"])
        if !follow {
            let lines = ResultLines(of: job, query, store: services.store, clock: services.clock)
            response.headers.add(name: Self.nextHeader, value: lines.end.text)
            guard request.method != .HEAD else { return response }
            response.body = .stream(
                length: nil,
                write: { body in
                    var lines = lines
                    try await lines.send { try await body.write($0) }
                })
            return response
        }
        response.headers.add(name: "Trailer", value: Self.nextHeader)
        guard request.method != .HEAD else { return response }
        response.body = .stream(
            length: nil,
            write: { body in
                var lines = ResultLines(
                    of: job, query, follow: true, store: services.store, clock: services.clock)
                let listener = services.news.enter(job.id)
                defer { services.news.leave(listener) }
                try await lines.send(following: {
                    try await Self.waitForMore(job, listener, services, request.caller)
                }) { try await body.write($0) }
                body.setTrailers([Self.nextHeader: lines.cursor.text])
            })
        return response
    }

    /// Waits until there may be more lines; `false` when the job has ended, the platform stops, or the reader has left.
    private static func waitForMore(
        _ job: Job, _ listener: JobNews.Listener, _ services: JobServices, _ caller: CallerPresence
    ) async throws -> Bool {
        // What is recorded within a pause is sent together.
        try await services.clock.sleep(for: followPause)
        let present = try await services.store.job(job.id, api: job.api, now: services.clock.now())
        guard let present, present.status.isOpen, !services.news.isClosed, !caller.hasFinished else { return false }
        await services.news.wait(listener, upTo: .seconds(1), caller: caller)
        return true
    }

    private static let notSortable = PlatformError(
        .conflict, "order=index needs all results, and the job has not ended yet")

    /// `merged=true`: for each index of a chain of retries its last line. A line of an earlier job disappears when a
    /// later job has one, so that there is nothing to follow or to continue.
    private func merged(
        _ job: Job, _ status: ResultLines.Query.Status?, _ order: ResultCursor.Order, _ request: IncomingRequest
    ) async throws -> OutgoingResponse {
        let excluded = try request.flag("follow") ? "follow" : request.parameter("after").map { _ in "after" }
        if let excluded { throw PlatformError(.badRequest, "\(excluded) and merged=true exclude each other") }
        guard order == .recorded || !job.status.isOpen else { throw Self.notSortable }
        var jobs = [job]
        while jobs.count < Self.chain, let id = jobs.last?.submission.retryOf {
            // One whose retention is over takes its lines with it.
            guard let older = try await services.store.job(id, api: job.api, now: services.clock.now()) else { break }
            jobs.append(older)
        }
        let lines = try await MergedLines(
            of: jobs, status: status, order: order, store: services.store, clock: services.clock)
        var response = OutgoingResponse(status: .ok, headers: ["Content-Type": "application/jsonl"])
        guard request.method != .HEAD else { return response }
        response.body = .stream(
            length: nil,
            write: { body in
                var lines = lines
                try await lines.send { try await body.write($0) }
            })
        return response
    }

    /// `GET …/items`.
    func items(_ job: Job, _ request: IncomingRequest) async throws -> OutgoingResponse {
        var query = ItemLines.Query(states: Set(StoredBatch.State.allCases))
        if let state = try word("status", request, StoredBatch.State.self) { query.states = [state] }
        if let text = request.parameter("after") {
            guard let cursor = ItemCursor(text) else {
                throw PlatformError(.badRequest, "after must be the X-Cortex-Next of an earlier answer")
            }
            query.after = cursor
        }
        if let text = request.parameter("limit") {
            guard let limit = Int(text), (1...Limits.listPage).contains(limit) else {
                throw PlatformError(.badRequest, "limit must be an integer from 1 to \(Limits.listPage)")
            }
            query.limit = limit
        }
        let lines = try await ItemLines(of: job.id, query, store: services.store, clock: services.clock)
        var response = OutgoingResponse(status: .ok, headers: ["Content-Type": "application/jsonl"])
        if let end = lines.end { response.headers.add(name: Self.nextHeader, value: end.text) }
        guard request.method != .HEAD else { return response }
        response.body = .stream(
            length: nil,
            write: { body in
                var lines = lines
                try await lines.send { try await body.write($0) }
            })
        return response
    }

    private func order(_ request: IncomingRequest) throws -> ResultCursor.Order {
        switch request.parameter("order") {
        case nil: .recorded
        case "index"?: .index
        default: throw PlatformError(.badRequest, "order must be index, or left out")
        }
    }

    private func word<Word: RawRepresentable & CaseIterable>(
        _ name: String, _ request: IncomingRequest, _ type: Word.Type
    ) throws -> Word? where Word.RawValue == String {
        guard let text = request.parameter(name) else { return nil }
        guard let word = Word(rawValue: text) else {
            let all = Word.allCases.map(\.rawValue).joined(separator: ", ")
            throw PlatformError(.badRequest, "\(name) must be one of \(all)")
        }
        return word
    }
}

extension IncomingRequest {
    /// The value of a parameter that is true or false; false where it is missing.
    func flag(_ name: String) throws -> Bool {
        switch parameter(name) {
        case nil, "false", "0": false
        case "", "true", "1": true
        default: throw PlatformError(.badRequest, "\(name) must be true or false")
        }
    }
}
