import Core

/// Which version an API goes back to, as a decision without side effects.
enum RollbackPlan {
    /// - Parameters:
    ///   - versions: the kept ones, newest first; the present one is among them.
    ///   - wanted: a version's id, or the beginning of one that only it has; `nil` for the last that declared something
    ///     else than the present one.
    /// - Throws: `not_found` with the versions that are known.
    static func target(of present: DeployedAPI, among versions: [DeployedAPI], wanted: String?) throws -> DeployedAPI {
        let name = present.name
        guard let wanted else {
            let older = versions.drop { $0.id != present.id }.dropFirst()
            guard let previous = older.first(where: { $0.specID != present.specID }) else {
                throw PlatformError(
                    .notFound,
                    "\(name) has no earlier version to go back to: no kept one declares anything else; see cortex get \(name)"
                )
            }
            return previous
        }
        let matches = versions.filter { $0.id == wanted }
        let candidates = matches.isEmpty && !wanted.isEmpty ? versions.filter { $0.id.hasPrefix(wanted) } : matches
        guard let first = candidates.first else {
            throw PlatformError(.notFound, "\(name) has no version \(wanted.shown): \(known(versions))")
        }
        guard candidates.count == 1 else {
            throw PlatformError(
                .notFound, "\(candidates.count) versions of \(name) begin with \(wanted.shown): \(known(versions))")
        }
        return first
    }

    private static func known(_ versions: [DeployedAPI]) -> String {
        "kept are " + versions.map { "\($0.id) (\($0.lastUpdated.rfc3339))" }.joined(separator: ", ")
    }
}
