package import Core
import Logging

/// The logs of an API: every container of every replica, in batches of lines.
extension LocalOrchestrator {
    package func logs(api: String, options: LogOptions) throws -> LogStream<ReplicaLogBatch> {
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
        return LogStream { write in try await self.copyLogs(of: api, options, to: write) }
    }

    private func containers(of api: String) -> Set<String> {
        Set(declared[api]?.api.specification.pod.containers.map(\.name) ?? [])
    }

    /// Reads each container in a task of its own; with `follow` also those of replicas that appear later, until the API
    /// is deleted.
    private func copyLogs(
        of api: String, _ options: LogOptions, to write: @escaping LogStream<ReplicaLogBatch>.Write
    ) async throws {
        let changes = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        nextLogReader += 1
        let reader = nextLogReader
        if options.follow { logReaders[reader] = changes.continuation }
        defer { logReaders[reader] = nil }
        let begin = clock.now()
        // Of a replica that begins while logs are followed, every line is wanted, also with `tail`.
        let older = Set(pods.values.filter { Self.hasLog($0) }.map(\.id))
        let known = Set(pods.keys)
        try await withThrowingTaskGroup(of: LogEvent.self) { group in
            var opened: Set<LogSource> = []
            var failure: PlatformError?
            func open() {
                let present = logSources(of: api, options)
                opened.formIntersection(present)
                for source in present where opened.insert(source).inserted {
                    var options = options
                    let isNew = known.contains(source.replica) || source.createdAt >= begin
                    if isNew, !older.contains(source.replica) { options.tail = nil }
                    group.addTask { [options] in .ended(try await self.copy(source, options, to: write)) }
                }
                guard options.follow, declared[api] != nil else { return }
                group.addTask {
                    for await _ in changes.stream { break }
                    return .changed
                }
            }
            open()
            for try await event in group {
                switch event {
                case .changed:
                    try Task.checkCancellation()
                    open()
                case .ended(let error): failure = failure ?? error
                }
            }
            if let failure, !options.follow { throw failure }
        }
    }

    private enum LogEvent: Sendable {
        case changed
        /// A log was read to its end, or could not be read.
        case ended(PlatformError?)
    }

    /// Lets those who follow logs look for containers that are new.
    func wakeLogReaders() {
        for reader in logReaders.values { reader.yield() }
    }

    private struct LogSource: Hashable {
        var replica: String
        var container: String
        var createdAt: Timestamp
    }

    private static func hasLog(_ pod: Pod) -> Bool { pod.phase == .running || pod.phase == .stopping }

    private func logSources(of api: String, _ options: LogOptions) -> [LogSource] {
        pods.values
            .filter { $0.api.name == api && Self.hasLog($0) }
            .filter { options.replica == nil || $0.id == options.replica }
            .sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
            .flatMap { pod in
                pod.plan.containers.map { LogSource(replica: pod.id, container: $0.name, createdAt: pod.createdAt) }
            }
            .filter { options.container == nil || $0.container == options.container }
    }

    /// Reads one container's log. A failure ends this log alone: with a line where logs are followed, else it is
    /// returned.
    private nonisolated func copy(
        _ source: LogSource, _ options: LogOptions, to write: @escaping LogStream<ReplicaLogBatch>.Write
    ) async throws -> PlatformError? {
        let hand: LogStream<[UInt8]>.Write = { lines in
            try await write(ReplicaLogBatch(replica: source.replica, container: source.container, lines: lines))
        }
        do {
            try await engine.logs(
                container: source.container, pod: source.replica, follow: options.follow, tail: options.tail
            ).read(hand)
            return nil
        } catch let error as PlatformError {
            // A replica that was removed in between has no log to read.
            if error.code == .notFound { return nil }
            logger.warning("cannot read a log: \(error)", metadata: ["replica": "\(source.replica)"])
            guard options.follow else { return error }
            try await hand(Array("[cortex] this log ends here, because it cannot be read: \(error.message)\n".utf8))
            return nil
        }
    }
}
