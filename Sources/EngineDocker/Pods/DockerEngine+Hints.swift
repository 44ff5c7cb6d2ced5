import Core
import Foundation
import Logging
import Support

extension DockerEngine {
    /// From the engine's events. While the engine is away nothing comes; each time it begins to tell, every pod is
    /// hinted at, since anything may have happened before.
    package func hints() -> AsyncStream<String> {
        // Hints may be lost: a reader that far behind looks at everything anyway.
        let (stream, continuation) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(4096))
        let task = Task {
            await watch(continuation)
            continuation.finish()
        }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }

    /// An engine may lose sight of who listens: events that stay away for so long are asked for anew.
    private static let silence: Duration = .seconds(300)

    private func watch(_ hints: AsyncStream<String>.Continuation) async {
        var backoff = Backoff.engine
        while !Task.isCancelled {
            let pulse = Pulse()
            do {
                try await withSilenceLimit(Self.silence, of: pulse, clock: clock) {
                    let events = try await client.events(label: names.filter)
                    // What happened before the engine listened to us went unheard.
                    // Whose a container is, is for `list` to judge: a hint costs no more than a look.
                    let listed = try await client.containers(labels: [names.filter]).objects
                    for pod in Set(listed.compactMap { $0.labels?[Labels.pod] }) where ResourceNames.isPodID(pod) {
                        hints.yield(pod)
                    }
                    var lines = LineSplitter(limit: 1 << 20)
                    for try await chunk in events {
                        pulse.beat()
                        for line in lines.append(chunk) { if let pod = Self.pod(in: line) { hints.yield(pod) } }
                    }
                }
            } catch is CancellationError {
                return
            } catch {
                logger.debug("the engine's events are not to be had", metadata: ["error": "\(error)"])
            }
            if pulse.count > 0 { backoff.reset() }
            do { try await clock.sleep(for: backoff.next()) } catch { return }
        }
    }

    /// The pod an event is about; `nil` for what is none of our business.
    static func pod(in line: String) -> String? {
        let event = try? JSONDecoder().decode(ContainerEvent.self, from: Data(line.utf8))
        // Commands of probes would wake all readers for nothing.
        guard let event, event.action?.hasPrefix("exec_") != true else { return nil }
        return event.actor?.attributes?[Labels.pod].flatMap { ResourceNames.isPodID($0) ? $0 : nil }
    }
}

extension Backoff {
    /// For an engine that does not answer.
    static let engine = Backoff(first: .milliseconds(100), longest: .seconds(5))
}
