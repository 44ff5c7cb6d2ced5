import Synchronization

/// Lets one caller at a time do a piece of work; others that come meanwhile go on without it.
final class SingleFlight: Sendable {
    private let isBusy = Mutex(false)

    func run(_ body: () async throws -> Void) async rethrows {
        let isFree = isBusy.withLock { busy -> Bool in
            defer { busy = true }
            return !busy
        }
        guard isFree else { return }
        defer { isBusy.withLock { $0 = false } }
        try await body()
    }
}
