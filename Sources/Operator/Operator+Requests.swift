import Core
import Wire

extension Operator {
    /// `GET /requests/{api}`: a page, newest first (contract O3).
    func requests(of name: String, _ query: QueryParameters) async throws -> RequestListDocument {
        var filter = RequestFilter(limit: try query.integer("limit", in: 1...Limits.listPage) ?? 100)
        if let text = try query.text("status") {
            guard let status = RequestStatus(rawValue: text) else {
                let allowed = RequestStatus.allCases.map(\.rawValue).joined(separator: ", ")
                throw PlatformError(
                    .badRequest, "the query parameter status must be one of \(allowed), not \(text.shown)")
            }
            filter.status = status
        }
        if let text = try query.text("before") {
            guard let id = RequestID(text) else {
                throw PlatformError(.badRequest, "the query parameter before must be a request id, not \(text.shown)")
            }
            filter.before = id
        }
        _ = try await deployedAPI(name)
        let records = try await store.list(api: name, filter: filter, now: clock.now())
        return RequestListDocument(
            requests: records.map(RequestDocument.init), next: records.count == filter.limit ? records.last?.id : nil)
    }

    /// `POST /retry/{api}/{id}`: puts a failed request back into the queue (contract A12, O3).
    func retry(_ text: String, of name: String) async throws -> RequestDocument {
        _ = try await deployedAPI(name)
        guard let id = RequestID(text), let record = try await store.retry(id, api: name, now: clock.now()) else {
            throw PlatformError(
                .notFound, "\(name) has no request \(text.shown), or it has expired: see cortex requests \(name)")
        }
        return RequestDocument(record)
    }
}
