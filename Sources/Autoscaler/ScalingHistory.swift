package import Core

/// The autoscaler's history of one API; created again when the API is created or the platform starts.
package struct ScalingHistory: Sendable, Hashable {
    /// The number of replicas that one decision recommended, before stabilization.
    package struct Recommendation: Sendable, Hashable {
        package var at: Timestamp
        package var replicas: Int
    }

    /// The load at one time.
    package struct Sample: Sendable, Hashable {
        package var at: Timestamp
        /// Requests that wait or are being worked on.
        package var inFlight: Double
    }

    /// The time of the first decision; `nil` before.
    package private(set) var startedAt: Timestamp?
    private var lastRound: Timestamp?
    /// Oldest first.
    package private(set) var recommendations: [Recommendation] = []
    /// Oldest first.
    package private(set) var samples: [Sample] = []

    package init() {}

    /// Must be called first in every round.
    ///
    /// - Parameter memory: how far back records matter. After a longer gap (the clock was set forward, the machine
    ///   slept, the store did not answer) the load in between is unknown, so the history is cleared; also when the
    ///   clock was set back.
    mutating func begin(at now: Timestamp, memory: Duration) {
        defer { lastRound = now }
        if let lastRound, now >= lastRound, now - lastRound <= max(memory, Self.shortestGap) { return }
        self = ScalingHistory()
        startedAt = now
    }

    /// A gap up to this length is a slow round.
    private static let shortestGap: Duration = .seconds(60)

    mutating func add(sample: Double, at now: Timestamp, window: Duration) {
        samples.append(Sample(at: now, inFlight: sample))
        samples.removeAll { $0.at <= now - window || $0.at > now }
    }

    /// The average over the recorded samples; `nil` without samples: unknown is not zero.
    var average: Double? {
        samples.isEmpty ? nil : samples.reduce(0.0) { $0 + $1.inFlight } / Double(samples.count)
    }

    mutating func add(recommendation: Int, at now: Timestamp, keeping period: Duration) {
        recommendations.append(Recommendation(at: now, replicas: recommendation))
        recommendations.removeAll { $0.at <= now - period && $0.at < now || $0.at > now }
    }

    /// Recommendations that are younger than `period`.
    func recommendations(within period: Duration, of now: Timestamp) -> [Int] {
        recommendations.filter { $0.at > now - period }.map(\.replicas)
    }

    /// Whether the first `period` since the beginning has not ended yet.
    func isWithinFirst(_ period: Duration, at now: Timestamp) -> Bool {
        guard let startedAt else { return true }
        return now - startedAt < period
    }
}
