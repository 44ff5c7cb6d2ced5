import Core
import Logging
import Support

/// What containers of replicas that are not ready wrote last: the likely reason, shown by `cortex describe`.
extension LocalOrchestrator {
    /// Lines that are kept of each container, and how long each may be.
    private static let count = 5
    private static let length = 300
    /// A replica that is not ready for less than this has hardly written anything that explains it.
    private static let delay: Duration = .seconds(5)
    /// How often they are read again.
    private static let period: Duration = .seconds(30)

    /// Begins to read the last lines of pods where that is due, of a few at a time; the others follow when one is done.
    func readLastLines() {
        let now = clock.instant()
        let due = pods.values.filter { isLookDue($0, now) }
            .sorted { ($0.linesReadAt ?? Instant(microseconds: 0)) < ($1.linesReadAt ?? Instant(microseconds: 0)) }
        for pod in due.prefix(max(0, Limits.logLooks - logLooks)) {
            pods[pod.id]?.linesReadAt = now
            logLooks += 1
            let containers = Self.interesting(pod)
            work.yield { await self.readLastLines(of: containers, pod: pod.id) }
        }
    }

    private func isLookDue(_ pod: Pod, _ now: Instant) -> Bool {
        guard pod.phase == .running, !pod.isReady, !pod.isLost, let since = pod.unreadySince else { return false }
        guard !pod.containersRun || now - since >= Self.delay else { return false }
        return pod.linesReadAt.map { now - $0 >= Self.period } ?? true
    }

    /// The containers that ended; where all run, all of them.
    private static func interesting(_ pod: Pod) -> [String] {
        let ended = pod.plan.containers.map(\.name).filter { pod.containers[$0]?.state != .running }
        return ended.isEmpty ? pod.plan.containers.map(\.name) : ended
    }

    private func readLastLines(of containers: [String], pod id: String) async {
        defer {
            logLooks -= 1
            readLastLines()
        }
        // Nothing is shown of a pod that was ready in between, so there is nothing to compare with either.
        let known = pods[id]?.lastLines.isEmpty == false ? pods[id]?.excerpts ?? [:] : [:]
        var excerpts: [String: LogExcerpt] = [:]
        for container in containers {
            excerpts[container] = known[container]
            do {
                // A container that wrote nothing since the last look is not read again.
                let excerpt = try await withTimeLimit(Limits.logLook, clock: clock) { [engine] in
                    try await engine.lastLines(
                        container: container, pod: id, count: Self.count, since: known[container]?.mark)
                }
                if let excerpt { excerpts[container] = excerpt }
            } catch {
                logger.debug("cannot read the last lines: \(error)", metadata: ["replica": "\(id)"])
            }
        }
        guard pods[id]?.isReady == false else { return }
        pods[id]?.excerpts = excerpts
        pods[id]?.lastLines = containers.flatMap { container in
            (excerpts[container]?.lines ?? []).map { line in
                let cut = line.count > Self.length ? line.prefix(Self.length) + "…" : line[...]
                return containers.count == 1 ? String(cut) : "\(container): \(cut)"
            }
        }
    }
}
