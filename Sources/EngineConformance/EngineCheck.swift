import Core
import Testing

/// One promise of ``Core/Engine``, checked on a real engine.
///
/// An adapter's conformance is one test: `@Test(arguments: EngineCheck.all(for: …)) func contract(_ check:
/// EngineCheck)`.
package struct EngineCheck: Sendable, CustomTestStringConvertible {
    /// The contract clause it proves and what it says.
    package let name: String
    /// Without it the check is not offered, in sight of the adapter that lists the capabilities.
    package let needs: EngineCapability?
    private let body: @Sendable (EngineFixture) async throws -> Void

    init(
        _ name: String, needs: EngineCapability? = nil, _ body: @escaping @Sendable (EngineFixture) async throws -> Void
    ) {
        self.name = name
        self.needs = needs
        self.body = body
    }

    package var testDescription: String { name }

    /// Runs the check; the fixture's pods are the check's to make and stop.
    package func callAsFunction(_ fixture: EngineFixture) async throws {
        try await fixture.engine.setUp()
        try await body(fixture)
    }

    /// Every check that an engine with these capabilities has to pass.
    package static func all(for capabilities: Set<EngineCapability>) -> [EngineCheck] {
        (lifecycle + adoption + workers + network + container + isolation + limits + exec + logs).filter { check in
            check.needs.map(capabilities.contains) ?? true
        }
    }
}

/// What not every engine can do on every machine.
package enum EngineCapability: Sendable, Hashable {
    /// `mem` is kept as a limit, and a container that was killed for it says so.
    case memoryLimit
    /// The root file system of a container cannot be written.
    case readOnlyRoot
    /// A command that is not found makes `start` fail rather than the container exit.
    case startFailure
    /// Containers have the platform's own system call filter.
    case systemCallFilter
}
