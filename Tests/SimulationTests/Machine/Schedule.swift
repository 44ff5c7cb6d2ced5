import CSimulation
import Core
import TestSupport

/// The only thread of a simulated world: its jobs, its event loops and its time, in an order that depends only on the
/// seed.
///
/// Ready jobs run first, one after the other. Only when no job is ready does time advance, directly to the next timer.
/// `@unchecked Sendable`, like all types of a world: only the thread inside `run` uses it, because every job that this
/// thread enqueues comes back to it (`CSimulation`).
final class Schedule: @unchecked Sendable {
    private enum Entry {
        case job(UnsafeMutableRawPointer)
        case lane(Lane)
        case action(() -> Void)
    }

    /// Jobs of one event loop: always in their own order.
    private final class Lane {
        var jobs: [() -> Void] = []
        var next = 0
    }

    private struct Timer {
        var due: Int64
        var number: Int
        var action: () -> Void
    }

    /// Whether ready jobs run in a random order. The global executor promises no order, so every order must work.
    private let isShuffled: Bool
    private var random: SeededGenerator
    private var ready: [Entry] = []
    private var firstReady = 0
    private var lanes: [ObjectIdentifier: Lane] = [:]
    /// A binary heap; the earliest timer first.
    private var timers: [Timer] = []
    private var nextNumber = 0
    private var cancelled: Set<Int> = []
    /// Microseconds since the beginning of the world. Never decreases.
    private(set) var elapsed: Int64 = 0
    private(set) var steps = 0
    /// Ends `run` before the next step.
    var isStopped = false

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        isShuffled = random.next() % 3 != 0
    }

    static let install: Void = csim_install { context, job in
        Unmanaged<Schedule>.fromOpaque(context).takeUnretainedValue().ready.append(.job(job))
    }

    // MARK: Scheduling

    func soon(_ action: @escaping () -> Void) { ready.append(.action(action)) }

    func enqueue(on loop: AnyObject, _ job: @escaping () -> Void) {
        let id = ObjectIdentifier(loop)
        let lane: Lane
        if let known = lanes[id] {
            lane = known
        } else {
            lane = Lane()
            lanes[id] = lane
        }
        lane.jobs.append(job)
        if lane.jobs.count - lane.next == 1 { ready.append(.lane(lane)) }
    }

    /// - Returns: the argument for `cancel`.
    @discardableResult
    func after(_ duration: Duration, _ action: @escaping () -> Void) -> Int {
        nextNumber += 1
        let (due, isFar) = elapsed.addingReportingOverflow(max(0, duration.wholeMicroseconds))
        push(Timer(due: isFar ? .max : due, number: nextNumber, action: action))
        return nextNumber
    }

    func cancel(_ timer: Int) { cancelled.insert(timer) }

    // MARK: Running

    /// Runs until no job is left, `isStopped` is set, or `limit` steps were done.
    func run(limit: Int) {
        _ = Self.install
        csim_enter(Unmanaged.passUnretained(self).toOpaque())
        defer { csim_leave() }
        while !isStopped, steps < limit {
            if firstReady == ready.count {
                ready.removeAll(keepingCapacity: true)
                firstReady = 0
                guard let timer = pop() else { return }
                elapsed = max(elapsed, timer.due)
                steps += 1
                timer.action()
            } else {
                step()
            }
        }
    }

    private func step() {
        if isShuffled, ready.count - firstReady > 1 {
            ready.swapAt(firstReady, firstReady + Int(random.next() % UInt64(ready.count - firstReady)))
        }
        let entry = ready[firstReady]
        firstReady += 1
        if firstReady > 1024 {
            ready.removeFirst(firstReady)
            firstReady = 0
        }
        steps += 1
        switch entry {
        case .job(let job): csim_run(job)
        case .action(let action): action()
        case .lane(let lane):
            let job = lane.jobs[lane.next]
            lane.next += 1
            if lane.next == lane.jobs.count {
                lane.jobs.removeAll(keepingCapacity: true)
                lane.next = 0
            } else {
                ready.append(.lane(lane))
            }
            job()
        }
    }

    // MARK: The heap

    private func isEarlier(_ left: Timer, _ right: Timer) -> Bool {
        left.due != right.due ? left.due < right.due : left.number < right.number
    }

    private func push(_ timer: Timer) {
        timers.append(timer)
        var child = timers.count - 1
        while child > 0, isEarlier(timers[child], timers[(child - 1) / 2]) {
            timers.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private func pop() -> Timer? {
        while let first = timers.first {
            timers.swapAt(0, timers.count - 1)
            timers.removeLast()
            var parent = 0
            while true {
                var least = parent
                for child in [2 * parent + 1, 2 * parent + 2] where child < timers.count {
                    if isEarlier(timers[child], timers[least]) { least = child }
                }
                if least == parent { break }
                timers.swapAt(parent, least)
                parent = least
            }
            if cancelled.remove(first.number) == nil { return first }
        }
        return nil
    }
}
