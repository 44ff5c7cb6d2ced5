import Core
import Foundation
import Testing

/// Numbers from the environment: `CORTEX_SIMULATION_SEED` runs one seed and shows its history,
/// `CORTEX_SIMULATION_SEEDS` is the number of seeds.
private enum Wish {
    static let seed = ProcessInfo.processInfo.environment["CORTEX_SIMULATION_SEED"].flatMap { UInt64($0) }
    static let seeds = ProcessInfo.processInfo.environment["CORTEX_SIMULATION_SEEDS"].flatMap { UInt64($0) } ?? 10_000
    static let first = ProcessInfo.processInfo.environment["CORTEX_SIMULATION_FIRST"].flatMap { UInt64($0) } ?? 1
}

@Suite("Simulation: the real dispatch, lease, retry and probe code in seeded worlds with faults", .serialized)
struct SimulationTests {
    @Test("A1, A2, A5, A7, A10, A11, A3, C7, C11, C13: the rules hold in every seed, and every request ends")
    func everySeed() async throws {
        if let seed = Wish.seed {
            let (lines, violation) = await Simulation.history(of: seed)
            FileHandle.standardError.write(Data((lines.joined(separator: "\n") + "\n").utf8))
            if let violation { Issue.record("seed \(seed): \(violation.inWords)") }
            return
        }
        let report = await Simulation.run(Wish.first..<Wish.first + Wish.seeds)
        for failure in report.failures { await explain(failure) }
        guard report.failures.isEmpty else { return }
        #expect(report.seeds == Int(Wish.seeds))
        let summary = zip(Happening.allCases, report.counts).map { "\($0) \($1)" }.joined(separator: ", ")
        FileHandle.standardError.write(Data("\(report.seeds) seeds: \(summary)\n".utf8))
        // A simulation in which a fault never happens proves nothing about that fault.
        guard Wish.seeds >= 2000 else { return }
        let never = zip(Happening.allCases, report.counts).filter { $1 < 10 }.map(\.0)
        #expect(never.isEmpty, "too rare: \(never)")
    }

    @Test("The same seed gives the same history, and another seed gives another history")
    func sameSeedSameHistory() async throws {
        try #require(
            ProcessInfo.processInfo.environment["SWIFT_DETERMINISTIC_HASHING"] != nil,
            "run it with scripts/test.sh: the order of sets and dictionaries must not change from run to run")
        var all: Set<String> = []
        for seed in UInt64(1)...40 {
            let first = await Simulation.history(of: seed)
            let second = await Simulation.history(of: seed)
            #expect(first.lines == second.lines, "seed \(seed)")
            all.insert(first.lines.joined(separator: "\n"))
        }
        #expect(all.count == 40)
    }

    /// Runs a failed seed again, with its history.
    private func explain(_ failure: Simulation.Failure) async {
        let (lines, violation) = await Simulation.history(of: failure.seed)
        let again =
            violation.map { $0.text == failure.violation.text } == true
            ? "" : "\n(a repeated run ended differently: \(violation?.inWords ?? "without a violation"))"
        Issue.record(
            """
            seed \(failure.seed): \(failure.violation.inWords)\(again)
            replay: CORTEX_SIMULATION_SEED=\(failure.seed) scripts/test.sh --filter SimulationTests
            \(lines.joined(separator: "\n"))
            """)
    }
}

extension Violation {
    fileprivate var inWords: String { "\(clause): \(text) (after \(at.inSeconds) s)" }
}
