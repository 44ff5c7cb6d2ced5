import Core
import Logging

/// What containers of replicas that are not ready wrote last: for whoever asks why.
extension LocalOrchestrator {
    /// Lines that are kept of each container, and how long each may be.
    private static let count = 5
    private static let length = 300
    /// A replica that is not ready for less than this says nothing worth reading yet.
    private static let patience: Duration = .seconds(5)
    /// How often they are read again.
    private static let age: Duration = .seconds(30)

    func readLastLines() {
        let now = clock.instant()
        for (id, pod) in pods where pod.phase == .running && !pod.isReady && !pod.isLost {
            guard let since = pod.unreadySince, !pod.containersRun || now - since >= Self.patience else { continue }
            if let readAt = pod.linesReadAt, now - readAt < Self.age { continue }
            pods[id]?.linesReadAt = now
            let containers = Self.interesting(pod)
            work.yield { await self.readLastLines(of: containers, pod: id) }
        }
    }

    /// The containers that ended; where all run, all of them.
    private static func interesting(_ pod: Pod) -> [String] {
        let ended = pod.plan.containers.map(\.name).filter { pod.containers[$0]?.state != .running }
        return ended.isEmpty ? pod.plan.containers.map(\.name) : ended
    }

    private func readLastLines(of containers: [String], pod id: String) async {
        var lines: [String] = []
        for container in containers {
            do {
                let read = try await engine.logs(container: container, pod: id, follow: false, tail: Self.count)
                for try await line in read {
                    let cut = line.count > Self.length ? line.prefix(Self.length) + "…" : line[...]
                    lines.append(containers.count == 1 ? String(cut) : "\(container): \(cut)")
                }
            } catch {
                logger.debug("cannot read the last lines: \(error)", metadata: ["replica": "\(id)"])
            }
        }
        guard pods[id]?.isReady == false else { return }
        pods[id]?.lastLines = lines
    }
}
