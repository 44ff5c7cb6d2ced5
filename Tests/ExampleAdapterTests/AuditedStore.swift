import Core
import Synchronization
import TestSupport

// region: store
/// The example of docs/add-a-store.md: a store in front of another one that records how deliveries end.
///
/// Calls that it does not mention go to `base` (``TestSupport/WrappedStore``).
final class AuditedStore<Base: Store>: WrappedStore {
    let base: Base
    private let records = Mutex<[String]>([])

    init(_ base: Base) { self.base = base }

    /// One line for each delivery that ended, in the order of the ends.
    var audit: [String] { records.withLock { $0 } }

    func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult {
        let result = try await base.finish(lease, outcome: outcome, now: now)
        // A stale lease has changed nothing.
        if case .applied = result { records.withLock { $0.append("\(lease.api) \(lease.id)") } }
        return result
    }
}
// endregion: store
