import Core
import Logging

/// Keeps pods within `compute.disk` (contract N7): a pod beyond it is replaced, and `describe` says why.
extension LocalOrchestrator {
    /// Measures the pods that have a limit, one after the other beside the loop, where that is due.
    func measureDisks() {
        let began = clock.instant()
        guard !isMeasuringDisk, began >= nextDiskLook else { return }
        let limits = pods.filter { $0.value.phase == .running }.compactMapValues(Self.diskLimit)
        guard !limits.isEmpty else { return }
        isMeasuringDisk = true
        work.yield {
            for (id, limit) in limits { await self.checkDisk(of: id, limit) }
            await self.disksMeasured(since: began)
        }
    }

    private func disksMeasured(since began: Instant) {
        let now = clock.instant()
        isMeasuringDisk = false
        // What takes long is done less often.
        nextDiskLook = now + max(Limits.diskPeriod, (now - began) * 2)
    }

    private static func diskLimit(_ pod: Pod) -> Int64? {
        let limits = pod.plan.containers.compactMap { $0.compute.disk?.whole }
        return limits.isEmpty ? nil : limits.reduce(0) { $0.addingReportingOverflow($1).overflow ? .max : $0 + $1 }
    }

    private func checkDisk(of id: String, _ limit: Int64) async {
        do {
            switch try await engine.diskUsage(pod: id, limit: limit) {
            case .bytes(let bytes) where bytes > limit:
                replace(id, "it stored more than its compute.disk of \(limit >> 20) MiB in /mnt, /tmp and its home")
            case .unknown:
                replace(
                    id, "what it stores on disk cannot be measured: a folder is nested too deeply or cannot be read")
            case .bytes, nil: break
            }
        } catch {
            logger.debug("cannot measure the disk of a pod: \(error)", metadata: ["replica": "\(id)"])
        }
    }

    /// Stops a pod at once; its requests go back to the queue, and the next comparison starts another.
    private func replace(_ id: String, _ reason: String) {
        guard let pod = pods[id], pod.phase == .running else { return }
        logger.warning("replica replaced: \(reason)", metadata: ["api": "\(pod.api.name)", "replica": "\(id)"])
        let sentence = "replica \(id) was replaced: \(reason)"
        diskProblems[pod.api.name] = (sentence, clock.instant())
        pods[id]?.reason = sentence
        pods[id]?.isLost = true
        pod.activity.close()
        pod.activity.cut(.diskLimit(sentence))
        stop(id)
        publishReady()
        reconcileSoon()
    }

    /// Why a replica of the API was replaced, for some time after it.
    func diskProblem(of api: String) -> String? {
        guard let (text, since) = diskProblems[api], clock.instant() - since < Limits.diskProblemShown else {
            return nil
        }
        return text
    }
}
