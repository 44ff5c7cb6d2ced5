import Core

extension SQLiteStore {
    /// Repeats a step of a long job until it finds less than its limit. Each step shares its transaction with other
    /// callers of the writer, who wait for it, and the writer is left to them in between.
    ///
    /// - Parameters:
    ///   - durable: `false` when what a power cut undoes is done again.
    ///   - step: gets the number of rows that it may change, and returns how many it found.
    /// - Returns: the number of rows of all steps.
    @discardableResult
    func inPacedSteps(
        durable: Bool = true, _ step: @escaping @Sendable (inout WriteTransaction, Int) throws -> Int
    ) async throws -> Int {
        let clock = ContinuousClock()
        var pace = StepPace()
        var total = 0
        while true {
            let limit = pace.limit
            let began = clock.now
            let (count, work) = try await committer.perform(durable: durable) { transaction in
                let began = clock.now
                let count = try step(&transaction, limit)
                return (count, clock.now - began)
            }
            total += count
            guard count >= limit else { return total }
            pace.adapt(to: work)
            try await clock.sleep(for: StepPace.pause(after: clock.now - began))
        }
    }
}

/// The sizes of the steps of a long job, and the pauses between them: the next step changes as many rows as this
/// machine changes within ``goal``.
struct StepPace: Equatable {
    /// How long the other callers of the writer wait for a step, without its commit.
    static let goal: Duration = .milliseconds(5)
    private static let limits = 50...20_000
    private static let pauses: ClosedRange<Duration> = .milliseconds(1) ... .milliseconds(100)

    private(set) var limit = 200

    /// - Parameter work: the duration of the step with the present limit.
    mutating func adapt(to work: Duration) {
        // A step that was short by chance must not lead to one that is far too long.
        let factor = min(max(Self.goal / max(work, .microseconds(1)), 0.25), 2)
        limit = min(max(Int(Double(limit) * factor), Self.limits.lowerBound), Self.limits.upperBound)
    }

    /// Others also share the transactions of the steps, so a fifth of the time is enough.
    ///
    /// - Parameter step: its duration with its commit.
    static func pause(after step: Duration) -> Duration {
        min(max(step / 4, pauses.lowerBound), pauses.upperBound)
    }
}
