import Core
import Logging

/// Keeps pods within `compute.disk`, and stops the largest one when the disk is nearly full (contract N7). `describe`
/// says why.
extension LocalOrchestrator {
    /// Measures pods where that is due, one after the other beside the loop: those that have a limit; while the disk is
    /// nearly full, all.
    func measureDisks() {
        let began = clock.instant()
        noteDiskMargin()
        let ended = endedForDisk.count
        endedForDisk = endedForDisk.filter { pods[$0.key] != nil && began - $0.value < Limits.diskErasure }
        // What was just erased is not in the last measurement of the free space yet.
        if endedForDisk.count < ended { nextDiskLook = max(nextDiskLook, began + Limits.diskPeriod) }
        guard !isMeasuringDisk, began >= nextDiskLook else { return }
        let isCritical = configuration.diskMargin()?.isCritical == true && endedForDisk.isEmpty
        let running = pods.filter { $0.value.phase == .running }
        let measured = isCritical ? running : running.filter { Self.diskLimit($0.value) != nil }
        guard !measured.isEmpty else { return }
        isMeasuringDisk = true
        work.yield {
            var usage: [String: DiskUsage] = [:]
            for (id, pod) in measured { usage[id] = await self.checkDisk(of: id, Self.diskLimit(pod)) }
            // Where only the pods with a limit were measured, the one that stores most is not known.
            await self.disksMeasured(isCritical ? usage : [:], since: began)
        }
    }

    private func disksMeasured(_ usage: [String: DiskUsage], since began: Instant) {
        let now = clock.instant()
        isMeasuringDisk = false
        // What takes long is done less often.
        nextDiskLook = now + max(Limits.diskPeriod, (now - began) * 2)
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
        let wasShort = diskShortage.isShort
        let hasEnded = diskShortage.note(margin)
        if hasEnded {
            logger.notice("the disk has more free than the reserve again: what was stopped for it may start")
            reconcileSoon()
        } else if !wasShort, diskShortage.isShort {
            logger.error("the disk is nearly full: the pod that stores most is stopped: \(margin?.text ?? "")")
        }
    }

    /// Stops the pod that stores most if the disk is still nearly full. One at a time: the next one only when the first
    /// is gone.
    private func makeSpace(_ usage: [String: DiskUsage]) {
        guard endedForDisk.isEmpty else { return }
        let margin = configuration.diskMargin()
        guard let margin, let victim = DiskShortage.victim(of: usage, margin), let api = pods[victim.id]?.api.name
        else { return }
        let stored =
            switch victim.usage {
            case .bytes(let bytes): "stored most, \(DiskMargin.text(bytes))"
            case .unknown: "stored what cannot be measured"
            }
        let cause = "was stopped: the disk is nearly full (\(margin.text)), and this replica \(stored)"
        guard let reason = end(victim.id, cause, CutReason.diskShortage) else { return }
        diskShortage.stopped(api: api, because: reason)
    }

    /// Why no replica of the API starts now; `nil` when one may.
    func diskHold(of api: String) -> String? {
        diskShortage.reasons[api].map { "\($0); no other one starts before more than the reserve is free" }
    }

    // MARK: Both

    /// Stops a pod at once for what it stores. Each of its requests goes back to the queue, a few times at most
    /// (contract C13).
    ///
    /// - Parameter text: what is done and why, the end of a sentence about the replica.
    /// - Returns: the reason as it is shown; `nil` when the pod does not run any more.
    @discardableResult
    private func end(_ id: String, _ text: String, _ reason: (String) -> CutReason) -> String? {
        guard let pod = pods[id], pod.phase == .running else { return nil }
        logger.warning("replica \(text)", metadata: ["api": "\(pod.api.name)", "replica": "\(id)"])
        let sentence = "replica \(id) \(text)"
        diskProblems[pod.api.name] = (sentence, clock.instant())
        endedForDisk[id] = clock.instant()
        pods[id]?.reason = sentence
        pods[id]?.isLost = true
        pod.activity.close()
        pod.activity.cut(reason(text))
        stop(id)
        publishReady()
        reconcileSoon()
        return sentence
    }

    /// Why a replica of the API was stopped, for some time after it.
    func diskProblem(of api: String) -> String? {
        if let hold = diskHold(of: api) { return hold }
        guard let (text, since) = diskProblems[api], clock.instant() - since < Limits.diskProblemShown else {
            return nil
        }
        return text
    }
}
