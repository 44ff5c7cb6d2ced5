/// Something to do later, once, on the thread that owns it.
package final class Timer {
    /// On a monotonic clock, in milliseconds.
    package let deadline: Int64
    private var action: (() -> Void)?

    package init(deadline: Int64, action: @escaping () -> Void) {
        self.deadline = deadline
        self.action = action
    }

    package var isCancelled: Bool { action == nil }

    /// Releases the action at once; the timer itself leaves the heap when it is due.
    package func cancel() { action = nil }

    /// Runs the action.
    package func fire() {
        let action = self.action
        self.action = nil
        action?()
    }
}

/// Timers by deadline: a binary heap.
package struct TimerHeap {
    private var timers: [Timer] = []

    package init() {}

    /// The earliest deadline.
    package var next: Int64? { timers.first?.deadline }

    /// Adds a timer at its place by time.
    package mutating func insert(_ timer: Timer) {
        // Cancelled timers with far deadlines would pile up otherwise.
        if timers.count > 1024, timers.count > 2 * timers.count(where: { !$0.isCancelled }) {
            let live = timers.filter { !$0.isCancelled }
            timers = []
            for timer in live { push(timer) }
        }
        push(timer)
    }

    /// Takes out all that are due.
    package mutating func due(_ now: Int64) -> [Timer] {
        var due: [Timer] = []
        while let first = timers.first, first.deadline <= now {
            due.append(first)
            timers.swapAt(0, timers.count - 1)
            timers.removeLast()
            sink()
        }
        return due
    }

    private mutating func push(_ timer: Timer) {
        timers.append(timer)
        var child = timers.count - 1
        while child > 0, timers[child].deadline < timers[(child - 1) / 2].deadline {
            timers.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < timers.count && timers[child].deadline < timers[least].deadline {
                least = child
            }
            guard least != parent else { return }
            timers.swapAt(parent, least)
            parent = least
        }
    }
}
