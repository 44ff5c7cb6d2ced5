package import Core
package import Wire

extension OperatorClient {
    /// A page of an API's requests, newest first (`GET /requests/{api}`).
    package func requests(
        _ name: String, status: RequestStatus? = nil, before: RequestID? = nil, limit: Int
    ) async throws -> RequestListDocument {
        var query = [("limit", "\(limit)")]
        if let status { query.append(("status", status.rawValue)) }
        if let before { query.append(("before", before.description)) }
        return try await call("GET", "/requests/\(Self.segment(name))", query: query)
    }

    /// Puts a failed request back into the queue (`POST /retry/{api}/{id}`).
    package func retry(_ id: RequestID, api: String) async throws -> RequestDocument {
        try await call("POST", "/retry/\(Self.segment(api))/\(id)", timeout: Self.writeTimeout)
    }
}
