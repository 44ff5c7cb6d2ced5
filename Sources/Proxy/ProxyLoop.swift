import Core
import NIOCore
import Synchronization

/// The exchanges of one event loop, and what of them has a deadline. Used on the event loop.
///
/// Most exchanges end within milliseconds, so none has a timer of its own: all are looked at every ``period`` while
/// there are any. A deadline is kept with that precision.
final class ProxyLoop {
    private static let period: TimeAmount = .milliseconds(20)

    private let loop: any EventLoop
    private let clock: any PlatformClock
    private var watched: [any DeadlineKeeper] = []
    private var isScheduled = false
    private(set) var exchanges: [Exchange] = []

    init(_ loop: any EventLoop, clock: any PlatformClock) {
        self.loop = loop
        self.clock = clock
    }

    /// An exchange enters its gate.
    func add(_ exchange: Exchange) {
        guard exchange.loopIndex == nil else { return }
        exchange.loopIndex = exchanges.count
        exchanges.append(exchange)
    }

    /// An exchange is over.
    func remove(_ exchange: Exchange) {
        forget(exchange)
        guard let index = exchange.loopIndex else { return }
        exchange.loopIndex = nil
        let last = exchanges.removeLast()
        guard index < exchanges.count else { return }
        exchanges[index] = last
        last.loopIndex = index
    }

    func watch(_ keeper: any DeadlineKeeper) {
        guard keeper.watchIndex == nil else { return }
        keeper.watchIndex = watched.count
        watched.append(keeper)
        schedule()
    }

    func forget(_ keeper: any DeadlineKeeper) {
        guard let index = keeper.watchIndex else { return }
        keeper.watchIndex = nil
        let last = watched.removeLast()
        guard index < watched.count else { return }
        watched[index] = last
        last.watchIndex = index
    }

    private func schedule() {
        guard !isScheduled else { return }
        isScheduled = true
        loop.assumeIsolated().scheduleTask(in: Self.period) {
            self.isScheduled = false
            self.look()
        }
    }

    private func look() {
        let now = clock.instant()
        // One that ends forgets itself: another takes its place.
        var index = 0
        while index < watched.count {
            let keeper = watched[index]
            if keeper.deadline <= now { keeper.deadlineReached(now) }
            if index < watched.count, watched[index] === keeper { index += 1 }
        }
        if !watched.isEmpty { schedule() }
    }
}

/// Something that ends at a time. Used on one event loop.
protocol DeadlineKeeper: AnyObject {
    /// Its place among those that are watched; `nil`: it is not.
    var watchIndex: Int? { get set }
    var deadline: Instant { get }

    /// The deadline is over. It moves the deadline, or is forgotten.
    func deadlineReached(_ now: Instant)
}

/// The ``ProxyLoop`` of each event loop.
final class ProxyLoops: Sendable {
    private let clock: any PlatformClock
    private let loops = Mutex<[ObjectIdentifier: NIOLoopBound<ProxyLoop>]>([:])

    init(clock: any PlatformClock) {
        self.clock = clock
    }

    /// Runs `body` for every exchange, on its event loop, later.
    func forEachExchange(_ body: @escaping @Sendable (Exchange) -> Void) {
        let all = loops.withLock { Array($0.values) }
        for loop in all {
            loop.eventLoop.execute {
                // A copy: exchanges that end are removed meanwhile.
                for exchange in loop.value.exchanges { body(exchange) }
            }
        }
    }

    /// To be called on `loop`.
    func of(_ loop: any EventLoop) -> ProxyLoop {
        loops.withLock { loops in
            if let known = loops[ObjectIdentifier(loop)] { return known }
            let new = NIOLoopBound(ProxyLoop(loop, clock: clock), eventLoop: loop)
            loops[ObjectIdentifier(loop)] = new
            return new
        }.value
    }
}
