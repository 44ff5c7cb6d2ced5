package import Core
import Logging

/// The logs of an API: every container of every replica, merged line by line.
extension LocalOrchestrator {
    package func logs(api: String, options: LogOptions) async throws -> AsyncThrowingStream<ReplicaLogLine, any Error> {
        guard declared[api] != nil else {
            throw PlatformError(.notFound, "no API named \(api) is deployed; see `cortex get`")
        }
        if let replica = options.replica, pods[replica]?.api.name != api {
            throw PlatformError(.notFound, "\(api) has no replica \(replica); see `cortex describe \(api)`")
        }
        if let container = options.container, !containers(of: api).contains(container) {
            let known = containers(of: api).sorted().joined(separator: ", ")
            throw PlatformError(.notFound, "\(api) has no container \(container); it has \(known)")
        }
        let (stream, continuation) = AsyncThrowingStream.makeStream(
            of: ReplicaLogLine.self, bufferingPolicy: .bufferingOldest(100_000))
        // The reader owns the work: when it stops reading, the task is cancelled.
        let task = Task { await self.follow(api, options, into: continuation) }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }

    private func containers(of api: String) -> Set<String> {
        Set(declared[api]?.api.specification.pod.containers.map(\.name) ?? [])
    }

    /// Opens a stream per container; with `follow` also those of replicas that appear later, until the API is deleted or the reader leaves.
    private func follow(
        _ api: String, _ options: LogOptions,
        into continuation: AsyncThrowingStream<ReplicaLogLine, any Error>.Continuation
    ) async {
        await withTaskGroup(of: Void.self) { group in
            var opened: Set<Source> = []
            repeat {
                for source in sources(of: api, options) where opened.insert(source).inserted {
                    group.addTask { await self.copy(source, options, into: continuation) }
                }
                guard options.follow, declared[api] != nil else { break }
                do {
                    try await clock.sleep(for: .milliseconds(500))
                } catch {
                    break
                }
            } while !Task.isCancelled
            await group.waitForAll()
        }
        continuation.finish()
    }

    private struct Source: Hashable {
        var replica: String
        var container: String
    }

    private func sources(of api: String, _ options: LogOptions) -> [Source] {
        pods.values
            .filter { $0.api.name == api && ($0.phase == .running || $0.phase == .stopping) }
            .filter { options.replica == nil || $0.id == options.replica }
            .sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
            .flatMap { pod in pod.plan.containers.map { Source(replica: pod.id, container: $0.name) } }
            .filter { options.container == nil || $0.container == options.container }
    }

    private func copy(
        _ source: Source, _ options: LogOptions,
        into continuation: AsyncThrowingStream<ReplicaLogLine, any Error>.Continuation
    ) async {
        do {
            let lines = try await engine.logs(
                container: source.container, pod: source.replica, follow: options.follow, tail: options.tail)
            for try await line in lines {
                continuation.yield(
                    ReplicaLogLine(replica: source.replica, container: source.container, text: line))
            }
        } catch is CancellationError {
            // The reader left.
        } catch {
            logger.warning("cannot read logs: \(error)", metadata: ["replica": "\(source.replica)"])
            continuation.finish(throwing: error)
        }
    }
}
