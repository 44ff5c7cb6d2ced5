import Core
import Synchronization

/// The responses of the last minute, or of another window, in steps of equal length. Pure.
///
/// A ring of 60 steps takes at most 260,000 bytes, reached with 528 different times in each second; 50 different times
/// a second take 30,000. Without responses it takes 6,000.
struct TrafficRing: Sendable {
    private struct Step: Sendable {
        /// Counted from the beginning of the clock.
        var index: Int64 = .min
        var counts = TrafficReport.Counts()
        var slow = 0
        var times: [(bin: UInt16, count: UInt32)] = []
    }

    /// The length of a step, in microseconds.
    private let length: Int64
    /// Responses that take longer, in microseconds, are counted as slow.
    private let slowLimit: Int64
    private var steps: [Step]
    /// The index of the newest step, whose times are in `times`.
    private var newest: Int64 = .min
    /// The place of the newest step.
    private var slot = 0
    private var times: [UInt32]

    /// - Parameter slowLimit: responses that take longer are counted exactly; the histogram would be 3 % uncertain.
    init(window: Duration = Limits.trafficWindow, steps: Int = 60, slowLimit: Duration? = nil) {
        length = max(1, window.wholeMicroseconds / Int64(steps))
        self.slowLimit = slowLimit?.wholeMicroseconds ?? .max
        self.steps = Array(repeating: Step(), count: steps)
        times = Array(repeating: 0, count: LatencyHistogram.binCount)
    }

    /// - Parameters:
    ///   - status: of the response.
    ///   - isByPlatform: whether the platform wrote it. Its 5xx are failures of the platform.
    ///   - microseconds: the time until the head of the response.
    mutating func record(status: Int, isByPlatform: Bool, microseconds: Int64, now: Instant) {
        let index = now.microseconds / length
        if index > newest { advance(to: index) }
        switch status {
        case 200...299: steps[slot].counts.success2xx += 1
        case 400...499: steps[slot].counts.client4xx += 1
        case 500...:
            if isByPlatform { steps[slot].counts.platformErrors += 1 } else { steps[slot].counts.server5xx += 1 }
        default: steps[slot].counts.other += 1
        }
        if microseconds > slowLimit { steps[slot].slow += 1 }
        times[LatencyHistogram.bin(of: microseconds)] += 1
    }

    /// Stores the times of the newest step in their short form and begins another one.
    private mutating func advance(to index: Int64) {
        if newest != .min {
            for bin in times.indices where times[bin] > 0 {
                steps[slot].times.append((UInt16(bin), times[bin]))
                times[bin] = 0
            }
        }
        newest = index
        slot = Int(index % Int64(steps.count))
        steps[slot].index = index
        steps[slot].counts = .init()
        steps[slot].slow = 0
        steps[slot].times.removeAll(keepingCapacity: true)
    }

    /// What happened during a window that ends now.
    struct Figures: Sendable {
        var counts = TrafficReport.Counts()
        /// Responses that took longer than the ring's limit.
        var slow = 0
        var times = LatencyHistogram()
    }

    /// The responses of the ring's window, in whole steps, of which the last has just begun.
    func figures(now: Instant) -> Figures {
        var figures = Figures()
        let first = now.microseconds / length - Int64(steps.count) + 1
        for step in steps where step.index >= first {
            figures.counts.success2xx += step.counts.success2xx
            figures.counts.client4xx += step.counts.client4xx
            figures.counts.server5xx += step.counts.server5xx
            figures.counts.platformErrors += step.counts.platformErrors
            figures.counts.other += step.counts.other
            figures.slow += step.slow
            if step.index == newest {
                for bin in times.indices where times[bin] > 0 { figures.times.add(times[bin], bin: bin) }
            } else {
                for time in step.times { figures.times.add(time.count, bin: Int(time.bin)) }
            }
        }
        return figures
    }
}

/// The responses of one API, replica or target during the last minute. Safe from any thread.
final class TrafficRecorder: Sendable {
    private let ring: Mutex<TrafficRing>

    init(_ ring: sending TrafficRing = TrafficRing()) {
        self.ring = Mutex(ring)
    }

    /// Counts a response, once its head has been sent on.
    ///
    /// - Parameters:
    ///   - isByPlatform: whether the platform wrote it. Its 5xx are failures of the platform.
    ///   - begin: when the time of the response began.
    func record(status: Int, isByPlatform: Bool, since begin: Instant, now: Instant) {
        let microseconds = now.microseconds - begin.microseconds
        ring.withLock {
            $0.record(status: status, isByPlatform: isByPlatform, microseconds: microseconds, now: now)
        }
    }

    func figures(now: Instant) -> TrafficRing.Figures { ring.withLock { $0.figures(now: now) } }
}
