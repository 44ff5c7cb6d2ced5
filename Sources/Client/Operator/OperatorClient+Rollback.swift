import Core
package import Wire

extension OperatorClient {
    /// Deploys an earlier version of an API again (`POST /rollback/{api}`).
    ///
    /// - Parameter version: its id or the beginning of it; `nil` for the one before the present.
    /// - Throws: `not_found` with the versions that are kept; `asyncapi.api_updating` while it is being updated, unless
    ///   `force`.
    package func rollback(_ name: String, to version: String?, force: Bool) async throws -> MessageDocument {
        var query = [("force", "\(force)")]
        if let version { query.append(("version", version)) }
        return try await call(
            "POST", "/rollback/\(Self.segment(name))", query: query, timeout: Self.writeTimeout)
    }
}
