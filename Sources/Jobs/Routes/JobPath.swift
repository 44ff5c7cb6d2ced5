import HTTPServing

/// The paths below the base of an API with jobs (contract J1). One slash at the end of a path does not matter.
enum JobPath: Sendable, Hashable {
    case jobs
    case schedules
    /// The texts are decoded, and need not be ids.
    case job(String)
    case retry(String)
    case results(String)
    case items(String)
    case artifacts(String)
    case artifactArchive(String)
    /// A file of a worker; the path is as it was kept.
    case artifact(String, worker: String, path: String)

    /// `nil` for a path that such an API does not have.
    init?(_ rest: Substring) {
        var text = rest
        if text.hasSuffix("/") { text.removeLast() }
        guard !text.isEmpty else {
            self = .jobs
            return
        }
        guard text.hasPrefix("/") else { return nil }
        var segments: [String] = []
        for segment in text.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            // An encoded slash separates nothing, and no name has one.
            guard let decoded = PercentCoding.decode(segment), !decoded.isEmpty, !decoded.contains("/") else {
                return nil
            }
            segments.append(decoded)
        }
        switch (segments.count, segments.dropFirst().first) {
        case (1, _): self = segments[0] == "schedules" ? .schedules : .job(segments[0])
        case (2, "retry"?): self = .retry(segments[0])
        case (2, "results"?): self = .results(segments[0])
        case (2, "items"?): self = .items(segments[0])
        case (2, "artifacts"?): self = .artifacts(segments[0])
        case (2, "artifacts.tar"?): self = .artifactArchive(segments[0])
        case (4..., "artifacts"?):
            self = .artifact(segments[0], worker: segments[2], path: segments[3...].joined(separator: "/"))
        default: return nil
        }
    }
}
