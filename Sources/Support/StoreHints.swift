package import Core
import Synchronization

/// The subscribers of ``RequestQueue/changes(_:)``: what an adapter publishes after each commit reaches every stream.
///
/// Safe from any thread; `publish` never waits. Hints that a slow subscriber has not taken yet are merged into one, and
/// the ids of ended requests are dropped past a limit, so a subscriber that never reads costs a bounded amount of
/// memory.
package final class StoreHints: Sendable {
    /// The most ids of ended requests that wait for one subscriber. Further ones are dropped, as hints may be.
    private static let endedLimit = 100_000

    private struct Subscriber {
        let kinds: StoreChanges.Kinds
        var pending = StoreChanges()
        var waiting: CheckedContinuation<StoreChanges?, Never>?
    }

    private struct State {
        var nextID = 0
        var isFinished = false
        var subscribers: [Int: Subscriber] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    /// Sends to every subscriber the parts that it wants; one that wants none of them is not woken.
    package func publish(_ changes: StoreChanges) {
        let kinds = changes.kinds
        guard !kinds.isEmpty else { return }
        let woken = state.withLock { state in
            var woken: [(CheckedContinuation<StoreChanges?, Never>, StoreChanges)] = []
            for (id, subscriber) in state.subscribers where !subscriber.kinds.isDisjoint(with: kinds) {
                let part = changes.only(subscriber.kinds)
                if let waiting = subscriber.waiting {
                    state.subscribers[id]?.waiting = nil
                    woken.append((waiting, part))
                } else {
                    state.subscribers[id]?.pending.merge(part, endedLimit: Self.endedLimit)
                }
            }
            return woken
        }
        for (waiting, part) in woken { waiting.resume(returning: part) }
    }

    /// What is published from now on, of these kinds. The stream ends when its task is cancelled or `finish` is called.
    package func stream(_ kinds: StoreChanges.Kinds = .all) -> AsyncStream<StoreChanges> {
        let id = state.withLock { state -> Int in
            state.nextID += 1
            if !state.isFinished { state.subscribers[state.nextID] = Subscriber(kinds: kinds) }
            return state.nextID
        }
        let token = Unsubscription { [weak self] in self?.unsubscribe(id) }
        return AsyncStream {
            await withTaskCancellationHandler {
                await withCheckedContinuation { self.next(of: id, $0) }
            } onCancel: {
                token.run()
            }
        } onCancel: {
            token.run()
        }
    }

    /// Ends every stream, after what is still to be taken from it.
    package func finish() {
        let waiting = state.withLock { state in
            state.isFinished = true
            let waiting = state.subscribers.values.compactMap(\.waiting)
            state.subscribers = state.subscribers.filter { $0.value.waiting == nil }
            return waiting
        }
        for continuation in waiting { continuation.resume(returning: nil) }
    }

    private func next(of id: Int, _ continuation: CheckedContinuation<StoreChanges?, Never>) {
        let ready: StoreChanges?? = state.withLock { state in
            guard let subscriber = state.subscribers[id] else { return .some(nil) }
            guard subscriber.pending.isEmpty else {
                state.subscribers[id]?.pending = StoreChanges()
                return subscriber.pending
            }
            guard !state.isFinished else {
                state.subscribers[id] = nil
                return .some(nil)
            }
            state.subscribers[id]?.waiting = continuation
            return nil
        }
        if let ready { continuation.resume(returning: ready) }
    }

    private func unsubscribe(_ id: Int) {
        let waiting = state.withLock { $0.subscribers.removeValue(forKey: id)?.waiting }
        waiting?.resume(returning: nil)
    }

    /// Runs when the stream that holds it is gone, so that a forgotten stream does not stay subscribed.
    private final class Unsubscription: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
        deinit { run() }
    }
}

extension StoreChanges {
    fileprivate mutating func merge(_ other: StoreChanges, endedLimit: Int) {
        queued.formUnion(other.queued)
        apis.formUnion(other.apis)
        replicas.formUnion(other.replicas)
        jobs.formUnion(other.jobs)
        if ended.count + other.ended.count <= endedLimit { ended.formUnion(other.ended) }
    }
}
