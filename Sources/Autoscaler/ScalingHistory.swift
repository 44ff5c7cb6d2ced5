package import Core

/// What the autoscaler remembers of one API; made anew when the API or the platform begins.
package struct ScalingHistory: Sendable, Hashable {
    /// How many replicas one decision asked for, before stabilization.
    package struct Recommendation: Sendable, Hashable {
        package var at: Timestamp
        package var replicas: Int
    }

    /// The load at one moment.
    package struct Sample: Sendable, Hashable {
        package var at: Timestamp
        /// Queued and in-progress requests.
        package var inFlight: Int
    }

    /// When the first decision was asked for; `nil` before.
    package private(set) var startedAt: Timestamp?
    private var lastLook: Timestamp?
    /// Oldest first.
    package private(set) var recommendations: [Recommendation] = []
    /// Oldest first.
    package private(set) var samples: [Sample] = []

    package init() {}

    /// To be called at every look, first.
    ///
    /// - Parameter memory: how far back records matter. After a longer gap (the clock was set forward, the machine
    ///   slept, the store was away) nothing is known of the time in between, so the history begins anew; so it does
    ///   when the clock was set back.
    mutating func begin(at now: Timestamp, memory: Duration) {
        defer { lastLook = now }
        if let lastLook, now >= lastLook, now - lastLook <= max(memory, Self.shortestGap) { return }
        self = ScalingHistory()
        startedAt = now
    }

    /// A gap up to this long is a slow look.
    private static let shortestGap: Duration = .seconds(60)

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
