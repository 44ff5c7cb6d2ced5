package import Core

/// What the autoscaler remembers of one API; made anew when the API or the platform begins.
package struct ScalingHistory: Sendable, Hashable {
    package struct Recommendation: Sendable, Hashable {
        package var at: Timestamp
        package var replicas: Int
    }

    package struct Sample: Sendable, Hashable {
        package var at: Timestamp
        /// Queued and in-progress requests.
        package var inFlight: Int
    }

    /// When the first decision was asked for; `nil` before.
    package private(set) var startedAt: Timestamp?
    /// Oldest first.
    package private(set) var recommendations: [Recommendation] = []
    /// Oldest first.
    package private(set) var samples: [Sample] = []

    package init() {}

    mutating func begin(at now: Timestamp) {
        // A clock that was set back would otherwise make every record one of the future.
        if let startedAt, now >= startedAt { return }
        self = ScalingHistory()
        startedAt = now
    }

    mutating func add(sample: Int, at now: Timestamp, window: Duration) {
        samples.append(Sample(at: now, inFlight: sample))
        samples.removeAll { $0.at <= now - window || $0.at > now }
    }

    /// The average over what is remembered; `nil` without samples: unknown is not zero.
    var average: Double? {
        samples.isEmpty ? nil : samples.reduce(0.0) { $0 + Double($1.inFlight) } / Double(samples.count)
    }

    mutating func add(recommendation: Int, at now: Timestamp, keeping period: Duration) {
        recommendations.append(Recommendation(at: now, replicas: recommendation))
        recommendations.removeAll { $0.at <= now - period && $0.at < now || $0.at > now }
    }

    /// Recommendations younger than `period`.
    func recommendations(within period: Duration, of now: Timestamp) -> [Int] {
        recommendations.filter { $0.at > now - period }.map(\.replicas)
    }

    /// Whether the first `period` since the beginning is not over yet.
    func isWithinFirst(_ period: Duration, at now: Timestamp) -> Bool {
        guard let startedAt else { return true }
        return now - startedAt < period
    }
}
