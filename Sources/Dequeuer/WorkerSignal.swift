import Synchronization

/// Wakes one worker; what comes while it is awake is kept, and the same news twice is one.
final class WorkerSignal: Sendable {
    struct News: OptionSet {
        let rawValue: UInt8
        /// The timer is due.
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

    /// Returns all news as soon as there is any. For one task only.
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
