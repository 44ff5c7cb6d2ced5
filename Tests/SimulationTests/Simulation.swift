import Core
import Foundation
import Synchronization

/// Many seeds, distributed over the machine's cores; each runs on one thread from beginning to end.
struct Simulation: Sendable {
    struct Report: Sendable {
        var seeds = 0
        var counts = [Int](repeating: 0, count: Happening.allCases.count)
        var failures: [Failure] = []
    }

    struct Failure: Sendable {
        var seed: UInt64
        var violation: Violation
    }

    /// The stack of a thread must be as large as that of a main thread.
    private static let stackBytes = 8 << 20

    /// Runs the seeds; stops early after a few failures.
    static func run(_ seeds: Range<UInt64>) async -> Report {
        let threads = max(1, min(ProcessInfo.processInfo.activeProcessorCount, seeds.count))
        let shared = Shared(next: seeds.lowerBound)
        return await withCheckedContinuation { continuation in
            for _ in 0..<threads {
                let thread = Thread {
                    while let seed = shared.take(below: seeds.upperBound) {
                        let world = World(Scenario(seed: seed), keepsHistory: false)
                        shared.add(seed, world.run(), world.history.counts)
                    }
                    if let report = shared.leave(of: threads) { continuation.resume(returning: report) }
                }
                thread.stackSize = stackBytes
                thread.start()
            }
        }
    }

    /// One seed with its history.
    static func history(of seed: UInt64) async -> (lines: [String], violation: Violation?) {
        await withCheckedContinuation { continuation in
            let thread = Thread {
                let world = World(Scenario(seed: seed), keepsHistory: true)
                let violation = world.run()
                continuation.resume(returning: (world.history.lines, violation))
            }
            thread.stackSize = stackBytes
            thread.start()
        }
    }

    private final class Shared: Sendable {
        private struct State {
            var next: UInt64
            var left = 0
            var report = Report()
        }

        private let state: Mutex<State>

        init(next: UInt64) { state = Mutex(State(next: next)) }

        func take(below end: UInt64) -> UInt64? {
            state.withLock { state in
                guard state.next < end, state.report.failures.count < 5 else { return nil }
                defer { state.next += 1 }
                return state.next
            }
        }

        func add(_ seed: UInt64, _ violation: Violation?, _ counts: [Int]) {
            state.withLock { state in
                state.report.seeds += 1
                for (index, count) in counts.enumerated() { state.report.counts[index] += count }
                if let violation { state.report.failures.append(Failure(seed: seed, violation: violation)) }
            }
        }

        /// The report, for the last thread.
        func leave(of threads: Int) -> Report? {
            state.withLock { state in
                state.left += 1
                return state.left == threads ? state.report : nil
            }
        }
    }
}
