/// Waits that double from a tenth of a second up to five seconds.
struct Backoff: Sendable {
    private var current: Duration = .milliseconds(100)

    mutating func next() -> Duration {
        defer { current = min(current * 2, .seconds(5)) }
        return current
    }

    mutating func reset() { current = .milliseconds(100) }
}
