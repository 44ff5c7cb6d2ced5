package import Core
import Synchronization

/// The long operations under way in this process: calls of an engine, deploys, deletes, pulls.
///
/// `kill -QUIT`, `GET /debug/state` and a shutdown that does not end list them (contract U4). Reading it needs no task
/// and no event loop. May be used from any thread.
package final class OperationRegistry: Sendable {
    /// An operation under way.
    package struct Operation: Sendable, Hashable {
        /// The action, such as `stop pod`.
        package var name: String
        /// Its object, such as a pod's id. Never a secret or a payload.
        package var subject: String
        package var startedAt: Instant
    }

    /// The registry of this process.
    package static let shared = OperationRegistry()

    private struct State {
        var next: UInt64 = 0
        var operations: [UInt64: Operation] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    /// Adds an operation; ``end(_:)`` takes the returned number. ``withOperation(_:_:in:isolation:_:)`` does both.
    package func begin(_ name: String, _ subject: String) -> UInt64 {
        let operation = Operation(name: name, subject: subject, startedAt: SystemClock().instant())
        return state.withLock { state in
            state.next += 1
            state.operations[state.next] = operation
            return state.next
        }
    }

    package func end(_ number: UInt64) {
        state.withLock { $0.operations[number] = nil }
    }

    /// The operations under way, the oldest first.
    package func underWay() -> [Operation] {
        state.withLock { Array($0.operations.values) }.sorted { $0.startedAt < $1.startedAt }
    }
}

/// Lists an operation in the registry while `body` runs, on the caller's actor:
///
///     try await withOperation("start pod", plan.id) { try await engine.start(plan) }
package func withOperation<Value>(
    _ name: String, _ subject: String, in registry: OperationRegistry = .shared,
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
) async rethrows -> Value {
    let number = registry.begin(name, subject)
    defer { registry.end(number) }
    return try await body()
}
