import Core
import Synchronization

/// Passes the store's hints on: new work to the workers of its queue, ended requests to the worker that delivers them.
/// Safe from any thread.
///
/// It reads the store's stream once for all replicas.
final class ChangeHub: Sendable {
    private struct State {
        var groups: [String: ClaimGroup] = [:]
        var inside: [RequestID: ReplicaWorker] = [:]
    }

    private let state = Mutex(State())

    /// Runs until it is cancelled, and reopens a stream that ends. Without hints the workers poll.
    func run(_ store: any RequestQueue, clock: any PlatformClock) async {
        while !Task.isCancelled {
            for await change in store.changes([.queued, .ended]) { await handle(change, now: clock.instant()) }
            guard (try? await clock.sleep(for: .seconds(1))) != nil else { return }
        }
    }

    func handle(_ change: StoreChanges, now: Instant) async {
        let (groups, ended) = state.withLock { state in
            (
                change.queued.compactMap { state.groups[$0] },
                state.inside.isEmpty ? [] : change.ended.compactMap { id in state.inside[id].map { (id, $0) } }
            )
        }
        for group in groups { group.hint(now: now) }
        for (id, worker) in ended { await worker.requestEnded(id) }
    }

    /// Adds a worker to those of its queue.
    func join(
        _ signal: WorkerSignal, _ replica: ReadyReplica, _ configuration: DequeuerConfiguration, now: Instant
    ) -> (group: ClaimGroup, id: Int) {
        state.withLock { state in
            let queue = replica.queue
            let group =
                state.groups[queue]
                ?? ClaimGroup(pollMin: configuration.pollMin, pollMax: configuration.pollMax, now: now)
            state.groups[queue] = group
            return (group, group.join(signal, replica, now: now))
        }
    }

    /// Removes a group when its last worker has left it.
    func release(_ group: ClaimGroup, queue: String) {
        state.withLock { if $0.groups[queue] === group, group.isEmpty { $0.groups[queue] = nil } }
    }

    /// A request is being delivered by `worker`.
    func entered(_ id: RequestID, _ worker: ReplicaWorker) {
        state.withLock { $0.inside[id] = worker }
    }

    func left(_ id: RequestID) {
        state.withLock { $0.inside[id] = nil }
    }
}

/// Wakes one worker. News that arrives while the worker runs is kept; the same news twice counts once. Safe from any
/// thread.
final class WorkerSignal: Sendable {
    struct News: OptionSet {
        let rawValue: UInt8
        /// The worker's timer is due.
        static let timer = News(rawValue: 1)
        /// The queue may hold something, a slot is free, requests have arrived, or the worker is to stop.
        static let state = News(rawValue: 2)
    }

    private struct State {
        var news: News = []
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func fire(_ news: News) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.news.formUnion(news)
            return state.waiter.take()
        }
        waiter?.resume()
    }

    /// Waits until there is news, and returns all of it. For one task only.
    func next(isolation: isolated (any Actor)? = #isolation) async -> News {
        while true {
            let news = state.withLock { state -> News in
                defer { state.news = [] }
                return state.news
            }
            if !news.isEmpty { return news }
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let now = state.withLock { state -> Bool in
                    guard state.news.isEmpty else { return true }
                    state.waiter = continuation
                    return false
                }
                if now { continuation.resume() }
            }
        }
    }
}
