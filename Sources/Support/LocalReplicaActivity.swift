package import Core
import Synchronization

/// The requests inside one replica, counted in this process.
package final class LocalReplicaActivity: ReplicaActivity {
    private struct State {
        var inFlight = 0
        /// The start times of the requests inside, sorted, without those that are still being claimed.
        var starts: [Instant] = []
        var isClosed = false
        var isCut = false
        var reason: CutReason?
        var idle: [Int: CheckedContinuation<Void, Never>] = [:]
        var nextIdle = 0
        var cut: [@Sendable () -> Void] = []

        /// The index of the first start time that is not before `instant`.
        func startIndex(of instant: Instant) -> Int {
            var (low, high) = (0, starts.count)
            while low < high {
                let middle = (low + high) / 2
                if starts[middle] < instant { low = middle + 1 } else { high = middle }
            }
            return low
        }

        /// Removes `count` requests.
        ///
        /// - Returns: the continuations that wait until no request is inside, if that is so now.
        mutating func end(_ count: Int) -> [CheckedContinuation<Void, Never>] {
            inFlight -= count
            guard inFlight == 0 else { return [] }
            releaseActionsIfDone()
            guard !idle.isEmpty else { return [] }
            defer { idle = [:] }
            return Array(idle.values)
        }

        /// No request is inside and none can begin, so the actions for the cut are released.
        mutating func releaseActionsIfDone() {
            if isClosed, inFlight == 0 { cut = [] }
        }
    }

    private let state = Mutex(State())

    package init() {}

    package var inFlight: Int { state.withLock { $0.inFlight } }

    package var youngestStart: Instant? { state.withLock { $0.starts.last } }

    package var isClosed: Bool { state.withLock { $0.isClosed } }

    package var isCut: Bool { state.withLock { $0.isCut } }

    package var cutReason: CutReason? { state.withLock { $0.reason } }

    package func begin(upTo limit: Int, maxConcurrency: Int) -> Int {
        state.withLock {
            guard !$0.isClosed else { return 0 }
            let granted = max(0, min(limit, maxConcurrency - $0.inFlight))
            $0.inFlight += granted
            return granted
        }
    }

    package func end(_ count: Int) {
        let waiting = state.withLock { $0.end(count) }
        for continuation in waiting { continuation.resume() }
    }

    package func started(_ count: Int, at now: Instant) {
        state.withLock { state in
            // Usually the end. Two clocks' readings may be reordered on their way here.
            let index = state.starts.last.map { $0 <= now } ?? true ? state.starts.count : state.startIndex(of: now)
            state.starts.insert(contentsOf: repeatElement(now, count: count), at: index)
        }
    }

    package func end(startedAt: Instant) {
        let waiting = state.withLock { state in
            let index = state.startIndex(of: startedAt)
            if index < state.starts.count, state.starts[index] == startedAt { state.starts.remove(at: index) }
            return state.end(1)
        }
        for continuation in waiting { continuation.resume() }
    }

    package func close() {
        state.withLock { state in
            state.isClosed = true
            state.releaseActionsIfDone()
        }
    }

    package func expectLoss(_ reason: CutReason) {
        state.withLock { state in
            if !state.isCut { state.reason = reason }
        }
    }

    package func expectNoLoss() {
        state.withLock { state in
            if !state.isCut { state.reason = nil }
        }
    }

    package func cut(_ reason: CutReason) {
        let actions = state.withLock { state -> [@Sendable () -> Void] in
            state.isClosed = true
            if !state.isCut { state.reason = reason }
            state.isCut = true
            defer { state.cut = [] }
            return state.cut
        }
        for action in actions { action() }
    }

    package func onCut(_ action: @escaping @Sendable () -> Void) {
        let now = state.withLock { state -> Bool in
            guard !state.isCut else { return true }
            state.cut.append(action)
            state.releaseActionsIfDone()
            return false
        }
        if now { action() }
    }

    package func waitUntilIdle() async {
        let id = state.withLock { state in
            state.nextIdle += 1
            return state.nextIdle
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let now = state.withLock { state -> Bool in
                    guard state.inFlight > 0, !Task.isCancelled else { return true }
                    state.idle[id] = continuation
                    return false
                }
                if now { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.idle.removeValue(forKey: id) }?.resume()
        }
    }
}
