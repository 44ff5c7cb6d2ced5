import CSimulation
import Core
import TestSupport

/// The only thread of a simulated world: its jobs, its event loops and its time, in an order that the seed alone
/// decides.
///
/// What is ready runs first, one after the other; only when nothing is ready does time move on, straight to the next
/// timer. `@unchecked Sendable`, like everything else of a world: all of it is used by the thread that is inside `run`
/// and by no other, because every job that this thread enqueues comes back to it (`CSimulation`).
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

    /// Whether ready jobs run in a random order. The global executor promises none, so every order must do.
    private let isShuffled: Bool
    private var random: SeededGenerator
    private var ready: [Entry] = []
    private var firstReady = 0
    private var lanes: [ObjectIdentifier: Lane] = [:]
    /// A binary heap; the earliest timer first.
    private var timers: [Timer] = []
    private var nextNumber = 0
    private var cancelled: Set<Int> = []
    /// Microseconds since the world began. Never goes back.
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

    // MARK: What is to be done

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

    /// - Returns: what `cancel` takes.
    @discardableResult
    func after(_ duration: Duration, _ action: @escaping () -> Void) -> Int {
        nextNumber += 1
        let (due, isFar) = elapsed.addingReportingOverflow(max(0, duration.wholeMicroseconds))
        push(Timer(due: isFar ? .max : due, number: nextNumber, action: action))
        return nextNumber
    }

    func cancel(_ timer: Int) { cancelled.insert(timer) }

    // MARK: Doing it

    /// Runs until nothing is left to do, `isStopped`, or `limit` steps were taken.
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
