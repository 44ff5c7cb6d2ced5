import Core

/// The load of an API, sampled once a second (contract R19). Pure.
///
/// The autoscaler asks once for each ``span`` and averages the answers over its window. A second without a sample is
/// missing, not zero.
struct LoadRing: Sendable {
    /// The time between two rounds of the autoscaler.
    static let span: Duration = .seconds(10)

    /// Oldest first.
    private var samples: [(at: Instant, load: Int)] = []

    /// - Parameter load: requests waiting and inside at this moment.
    mutating func add(_ load: Int, at now: Instant) {
        samples.removeAll { !Self.isRecent($0.at, now) }
        samples.append((now, load))
    }

    /// The mean of the samples of the last ``span``; `nil` without any.
    func mean(at now: Instant) -> Double? {
        let recent = samples.filter { Self.isRecent($0.at, now) }
        return recent.isEmpty ? nil : Double(recent.reduce(0) { $0 + $1.load }) / Double(recent.count)
    }

    private static func isRecent(_ time: Instant, _ now: Instant) -> Bool { time > now - span && time <= now }
}
