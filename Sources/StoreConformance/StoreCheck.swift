import Testing

/// One promise of the protocol `Store`, as a value: a name for the report and a body that uses a fresh store.
///
/// An adapter's whole conformance is `@Test(arguments: StoreCheck.all(for: …)) func contract(_ check: StoreCheck) async
/// throws`.
package struct StoreCheck: Sendable, CustomTestStringConvertible {
    /// What only some stores can do.
    package enum Capability: Sendable, Hashable, CaseIterable {
        /// What was acknowledged is there when the store is opened again.
        case durable
        /// One process uses it at a time.
        case exclusive
        /// Several processes use it at the same time.
        case shared
    }

    /// Names the contract's clause first.
    package let name: String
    package let needs: Set<Capability>
    private let body: @Sendable (StoreFixture) async throws -> Void

    init(
        _ name: String, needs: Set<Capability> = [], _ body: @escaping @Sendable (StoreFixture) async throws -> Void
    ) {
        self.name = name
        self.needs = needs
        self.body = body
    }

    package var testDescription: String { name }

    /// Runs the check on stores that `fixture` makes.
    package func callAsFunction(_ fixture: StoreFixture) async throws {
        try await body(fixture)
    }

    /// Every check that a store with these capabilities must pass.
    package static func all(for capabilities: Set<Capability>) -> [StoreCheck] {
        let every = [
            deployments, queue, leases, endings, transitions, reading, upkeep, idempotency, bodies, erasing, hints,
            inputs, concurrency, processes, restarts,
            jobCreation, jobStaging, jobClaims, jobOutcomes, jobEnds, jobStops, jobReading, jobRetention, jobRuns,
            schedules, jobDeletions, jobRestarts, jobProcesses,
        ]
        return every.flatMap { $0 }.filter { $0.needs.isSubset(of: capabilities) }
    }
}
