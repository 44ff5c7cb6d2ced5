import Core
import Logging

/// The free space on the file system of the data directory, and the part of it that is kept for results
/// (`--disk-reserve`). In bytes.
package struct DiskMargin: Sendable, Hashable {
    /// The free space.
    package var free: Int64
    /// The part that is kept for results.
    package var reserve: Int64

    package init(free: Int64, reserve: Int64) {
        self.free = free
        self.reserve = reserve
    }

    /// Below half of the reserve.
    var isCritical: Bool { free < reserve / 2 }

    /// The free space and the reserve, for messages.
    var text: String { "\(Self.text(free)) free of a reserve of \(Self.text(reserve))" }

    /// A number of bytes in MiB or GiB.
    static func text(_ bytes: Int64) -> String {
        guard bytes >= 1 << 30 else { return "\(bytes >> 20) MiB" }
        let tenths = bytes / (1 << 30) * 10 + bytes % (1 << 30) * 10 / (1 << 30)
        return "\(tenths / 10).\(tenths % 10) GiB"
    }
}

/// Decides which pod is stopped when the disk is nearly full, and which APIs start no replica afterwards (contract N7).
/// Pure.
///
/// The shortage begins below half of the reserve and ends above the whole reserve. In between, an API whose replica was
/// stopped starts no other one, because it would fill the disk again.
struct DiskShortage: Sendable, Hashable {
    /// A pod that stores less than this fraction of the reserve is not stopped, because that would free too little.
    private static let leastShare: Int64 = 100

    private(set) var isShort = false
    /// Why a replica was stopped, by API.
    private(set) var reasons: [String: String] = [:]

    /// Notes a measurement of the free space; `nil` where it is not known, which changes nothing.
    ///
    /// - Returns: whether the shortage has just ended.
    mutating func note(_ margin: DiskMargin?) -> Bool {
        guard let margin else { return false }
        if margin.isCritical { isShort = true }
        guard isShort, margin.free > margin.reserve else { return false }
        self = DiskShortage()
        return true
    }

    /// The pod that stores most; `nil` while enough is free, or when no pod stores enough to matter.
    ///
    /// A pod that cannot be measured counts as the largest, because containers decide whether their folders can be
    /// read.
    static func victim(of usage: [String: DiskUsage], _ margin: DiskMargin?) -> (id: String, usage: DiskUsage)? {
        guard let margin, margin.isCritical else { return nil }
        let least = margin.reserve / leastShare
        let large = usage.filter { $0.value.size > least }
        // The choice does not depend on the order of the dictionary.
        return large.max { ($0.value.size, $1.key) < ($1.value.size, $0.key) }.map { ($0.key, $0.value) }
    }

    mutating func stopped(api: String, because reason: String) { reasons[api] = reason }

    mutating func forget(api: String) { reasons[api] = nil }
}

/// What the orchestrator knows of the disk use of its pods: when it is measured next, which pods are being erased, and
/// why replicas were stopped. Pure.
struct DiskWatch: Sendable {
    private(set) var shortage = DiskShortage()
    /// Pods that are being removed for their disk use, and since when.
    private var erased: [String: Instant] = [:]
    /// Why a replica was stopped, and when, by API.
    private var problems: [String: (text: String, since: Instant)] = [:]
    private var isMeasuring = false
    private var nextMeasurement = Instant(microseconds: .min)

    /// Whether the space of a stopped pod is still being freed.
    var isErasing: Bool { !erased.isEmpty }

    /// Notes the free space.
    ///
    /// - Returns: whether a shortage has just begun, and whether one has just ended.
    mutating func note(_ margin: DiskMargin?) -> (hasBegun: Bool, hasEnded: Bool) {
        let wasShort = shortage.isShort
        let hasEnded = shortage.note(margin)
        return (!wasShort && shortage.isShort, hasEnded)
    }

    /// Whether the pods may be measured now.
    ///
    /// - Parameter exists: whether a pod still exists.
    mutating func isMeasurementDue(now: Instant, exists: (String) -> Bool) -> Bool {
        let count = erased.count
        erased = erased.filter { exists($0.key) && now - $0.value < Limits.diskErasure }
        // The last measurement of the free space does not include what has just been erased.
        if erased.count < count { nextMeasurement = max(nextMeasurement, now + Limits.diskPeriod) }
        return !isMeasuring && now >= nextMeasurement
    }

    mutating func measurementBegan() { isMeasuring = true }

    mutating func measurementEnded(began: Instant, now: Instant) {
        isMeasuring = false
        // A measurement that takes long is made less often.
        nextMeasurement = now + max(Limits.diskPeriod, (now - began) * 2)
    }

    /// Notes that a pod is stopped and removed for its disk use.
    mutating func stopped(_ pod: String, of api: String, because reason: String, now: Instant) {
        problems[api] = (reason, now)
        erased[pod] = now
    }

    /// No replica of the API starts until the shortage has ended.
    mutating func hold(_ api: String, because reason: String) { shortage.stopped(api: api, because: reason) }

    mutating func forget(api: String) {
        problems[api] = nil
        shortage.forget(api: api)
    }

    /// Why no replica of the API starts now; `nil` when one may.
    func hold(of api: String) -> String? {
        shortage.reasons[api].map { "\($0); no other one starts before more than the reserve is free" }
    }

    /// Why a replica of the API was stopped; for some time only.
    func problem(of api: String, now: Instant) -> String? {
        if let hold = hold(of: api) { return hold }
        guard let (text, since) = problems[api], now - since < Limits.diskProblemShown else { return nil }
        return text
    }
}

extension DiskUsage {
    fileprivate var size: Int64 {
        switch self {
        case .bytes(let bytes): bytes
        case .unknown: .max
        }
    }
}

/// Keeps pods within `compute.disk`, and stops the largest one when the disk is nearly full (contract N7).
extension LocalOrchestrator {
    /// Measures pods if that is due, one after the other beside the loop: those with a limit, or all while the disk is
    /// nearly full.
    func measureDisks() {
        let began = clock.instant()
        noteDiskMargin()
        guard disk.isMeasurementDue(now: began, exists: { pods[$0] != nil }) else { return }
        let isCritical = configuration.diskMargin()?.isCritical == true && !disk.isErasing
        let running = pods.filter { $0.value.phase == .running && runTable[$0.key]?.machine.occupiesMachine != false }
        let measured = isCritical ? running : running.filter { Self.diskLimit($0.value) != nil }
        guard !measured.isEmpty else { return }
        disk.measurementBegan()
        work.yield {
            var usage: [String: DiskUsage] = [:]
            for (id, pod) in measured { usage[id] = await self.checkDisk(of: id, Self.diskLimit(pod)) }
            // If only the pods with a limit were measured, it is not known which pod stores most.
            await self.disksMeasured(isCritical ? usage : [:], since: began)
        }
    }

    private func disksMeasured(_ usage: [String: DiskUsage], since began: Instant) {
        disk.measurementEnded(began: began, now: clock.instant())
        makeSpace(usage.filter { pods[$0.key]?.phase == .running })
    }

    private static func diskLimit(_ pod: Pod) -> Int64? {
        let limits = pod.plan.containers.compactMap { $0.compute.disk?.whole }
        return limits.isEmpty ? nil : limits.reduce(0) { $0.addingReportingOverflow($1).overflow ? .max : $0 + $1 }
    }

    private func checkDisk(of id: String, _ limit: Int64?) async -> DiskUsage? {
        do {
            let usage = try await engine.diskUsage(
                pod: id, limit: limit ?? .max, upTo: limit == nil ? Limits.diskLook : nil)
            if let usage, let limit { enforce(limit, on: id, usage) }
            return usage
        } catch {
            logger.debug("cannot measure the disk of a pod: \(error)", metadata: ["replica": "\(id)"])
            return nil
        }
    }

    // MARK: compute.disk

    private func enforce(_ limit: Int64, on id: String, _ usage: DiskUsage) {
        switch usage {
        case .bytes(let bytes) where bytes > limit:
            let limit = DiskMargin.text(limit)
            end(
                id, "was replaced: it stored more than its compute.disk of \(limit) in /mnt, /tmp and its home",
                CutReason.diskLimit)
        case .unknown:
            let problem = "a folder is nested too deeply or cannot be read"
            end(
                id, "was replaced: what it stores cannot be measured, and it has a compute.disk: \(problem)",
                CutReason.diskLimit)
        case .bytes: break
        }
    }

    // MARK: A disk that is nearly full

    private func noteDiskMargin() {
        let margin = configuration.diskMargin()
        let (hasBegun, hasEnded) = disk.note(margin)
        if hasEnded {
            logger.notice("the disk has more free than the reserve again: what was stopped for it may start")
            reconcileSoon()
        }
        if hasBegun {
            logger.error("the disk is nearly full: the pod that stores most is stopped: \(margin?.text ?? "")")
        }
    }

    /// Stops the pod that stores most if the disk is still nearly full. The next one is stopped only after the first
    /// one was erased.
    private func makeSpace(_ usage: [String: DiskUsage]) {
        guard !disk.isErasing else { return }
        let margin = configuration.diskMargin()
        guard let margin, let victim = DiskShortage.victim(of: usage, margin), let api = pods[victim.id]?.set
        else { return }
        let stored =
            switch victim.usage {
            case .bytes(let bytes): "stored most, \(DiskMargin.text(bytes))"
            case .unknown: "stored what cannot be measured"
            }
        let cause = "was stopped: the disk is nearly full (\(margin.text)), and this replica \(stored)"
        guard let reason = end(victim.id, cause, CutReason.diskShortage) else { return }
        disk.hold(api, because: reason)
    }

    // MARK: Stopping

    /// Stops a pod at once because of its disk use. Each of its requests returns to the queue, a few times at most
    /// (contract C13).
    ///
    /// - Parameter text: what is done and why; the end of a sentence about the replica.
    /// - Returns: the reason as `describe` shows it; `nil` when the pod does not run any more.
    @discardableResult
    private func end(_ id: String, _ text: String, _ reason: (String) -> CutReason) -> String? {
        guard let pod = pods[id], pod.phase == .running else { return nil }
        logger.warning("replica \(text)", metadata: ["api": "\(pod.api.name)", "replica": "\(id)"])
        let sentence = "replica \(id) \(text)"
        disk.stopped(id, of: pod.set, because: sentence, now: clock.instant())
        pods[id]?.reason = sentence
        if pod.isRun {
            // Only a shortage of the machine is not the run's own fault.
            let cause: RunEnd.Cause = if case .diskLimit = reason(text) { .exit } else { .lost }
            handle(.evicted(cause, reason: text), of: id)
            publishRuns()
            return sentence
        }
        pods[id]?.isLost = true
        pod.activity.close()
        pod.activity.cut(reason(text))
        stop(id)
        publishReady()
        reconcileSoon()
        return sentence
    }
}
