package import Core
import Logging
import Support

/// The logs of an API, from every container of every replica.
extension LocalOrchestrator {
    package func logs(api: String, options: LogOptions) throws -> LogStream<ReplicaLogBatch> {
        guard declared[api] != nil else {
            throw PlatformError(.notFound, "no API named \(api) is deployed; see `cortex get`")
        }
        if let replica = options.replica, pods[replica]?.set != api {
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
    func copyLogs(
        of api: String, _ options: LogOptions, to write: @escaping LogStream<ReplicaLogBatch>.Write
    ) async throws {
        let (changes, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        nextLogReader += 1
        let reader = nextLogReader
        if options.follow { logFollowers[reader] = LogFollower(api: api, options: options, wake: wake) }
        defer {
            logFollowers[reader] = nil
            wakeLogWaits()
        }
        let begin = clock.now()
        // `tail` applies to the replicas that exist now. Of a replica that begins later every line is read.
        let older = Set(pods.values.filter { Self.hasLog($0) }.map(\.id))
        let known = Set(pods.keys)
        try await withThrowingTaskGroup(of: LogEvent.self) { group in
            var opened: Set<LogSource> = []
            var failure: PlatformError?
            func open() {
                let present = logSources(of: api, options)
                opened.formIntersection(present)
                logFollowers[reader]?.opened.formIntersection(present)
                for source in present where opened.insert(source).inserted {
                    var options = options
                    let isNew = known.contains(source.replica) || source.createdAt >= begin
                    if isNew, !older.contains(source.replica) { options.tail = nil }
                    group.addTask { [options] in .ended(try await self.copy(source, options, for: reader, to: write)) }
                }
                guard options.follow, hasMore(api) else { return }
                group.addTask {
                    for await _ in changes { break }
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

    /// Whether replicas of a set may still appear.
    private func hasMore(_ set: String) -> Bool {
        declared[set] != nil || runTable.values.contains { $0.plan.set == set }
    }

    private enum LogEvent: Sendable {
        case changed
        /// A log was read to its end, or could not be read.
        case ended(PlatformError?)
    }

    /// Lets the readers that follow logs look for new containers.
    func wakeLogReaders() {
        for follower in logFollowers.values { follower.wake.yield() }
    }

    struct LogSource: Hashable {
        var replica: String
        var container: String
        var createdAt: Timestamp
        var worker: PodOwner.Worker?
    }

    /// A reader that follows logs.
    struct LogFollower {
        let api: String
        let options: LogOptions
        let wake: AsyncStream<Void>.Continuation
        /// The logs that it has opened, or could not open.
        var opened: Set<LogSource> = []
    }

    /// How long the removal of a pod waits for readers of its log.
    private static let logOpening: Duration = .seconds(1)

    /// Waits until every reader that follows a pod's log has opened it: no line of a pod that lives for a few
    /// milliseconds only is lost (contract O4).
    func waitForLogReaders(of id: String) async {
        guard lacksReader(id) else { return }
        let (openings, opening) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        nextLogReader += 1
        let number = nextLogReader
        logWaits[number] = opening
        defer { logWaits[number] = nil }
        wakeLogReaders()
        await withTaskGroup(of: Void.self) { group in
            // Cancelled as soon as the logs are open.
            group.addTask { [clock] in try? await clock.sleep(for: Self.logOpening) }
            group.addTask { for await _ in openings where await !self.lacksReader(id) { break } }
            await group.next()
            group.cancelAll()
        }
    }

    private func lacksReader(_ id: String) -> Bool {
        guard let api = pods[id]?.set else { return false }
        return logFollowers.values.contains { follower in
            follower.api == api
                && logSources(of: api, follower.options).contains {
                    $0.replica == id && !follower.opened.contains($0)
                }
        }
    }

    private func opened(_ source: LogSource, by reader: Int) {
        logFollowers[reader]?.opened.insert(source)
        wakeLogWaits()
    }

    private func wakeLogWaits() {
        for wait in logWaits.values { wait.yield() }
    }

    private static func hasLog(_ pod: Pod) -> Bool { pod.phase == .running || pod.phase == .stopping }

    private func logSources(of api: String, _ options: LogOptions) -> [LogSource] {
        pods.values
            .filter { $0.set == api && Self.hasLog($0) }
            .filter { options.replica == nil || $0.id == options.replica }
            .sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
            .flatMap { pod in
                pod.plan.containers.map {
                    LogSource(replica: pod.id, container: $0.name, createdAt: pod.createdAt, worker: pod.worker)
                }
            }
            .filter { options.container == nil || $0.container == options.container }
    }

    /// Reads one container's log. A failure ends this log only: with `follow` it is written as a line, otherwise it is
    /// returned.
    private nonisolated func copy(
        _ source: LogSource, _ options: LogOptions, for reader: Int,
        to write: @escaping LogStream<ReplicaLogBatch>.Write
    ) async throws -> PlatformError? {
        let forward: LogStream<[UInt8]>.Write = { lines in
            try await write(
                ReplicaLogBatch(
                    replica: source.replica, container: source.container, lines: lines, worker: source.worker))
        }
        do {
            let lines: LogStream<[UInt8]>
            do {
                lines = try await engine.logs(
                    container: source.container, pod: source.replica, follow: options.follow, tail: options.tail)
            } catch {
                await opened(source, by: reader)
                throw error
            }
            await opened(source, by: reader)
            try await lines.read(forward)
            return nil
        } catch let error as PlatformError {
            // A replica that was removed meanwhile has no log.
            if error.code == .notFound { return nil }
            logger.warning("cannot read a log: \(error)", metadata: ["replica": "\(source.replica)"])
            guard options.follow else { return error }
            try await forward(Array("[cortex] this log ends here, because it cannot be read: \(error.message)\n".utf8))
            return nil
        }
    }
}

/// The last log lines of replicas that are not ready. `cortex describe` shows them as the likely reason.
extension LocalOrchestrator {
    /// The number of lines that are kept of each container.
    private static let lastLineCount = 5
    /// The most characters that are kept of each line.
    private static let lastLineLength = 300
    /// A replica is read when it was not ready for this long: before, its log rarely explains why.
    private static let lastLinesDelay: Duration = .seconds(5)
    /// The time between two reads of one replica.
    private static let lastLinesPeriod: Duration = .seconds(30)

    /// Begins to read the last lines of pods where that is due: of a few at a time, and of the next ones as these end.
    func readLastLines() {
        let now = clock.instant()
        let due = pods.values.filter { areLastLinesDue($0, now) }
            .sorted { ($0.linesReadAt ?? Instant(microseconds: 0)) < ($1.linesReadAt ?? Instant(microseconds: 0)) }
        for pod in due.prefix(max(0, Limits.logLooks - lastLineReads)) {
            pods[pod.id]?.linesReadAt = now
            lastLineReads += 1
            let containers = Self.containersToRead(pod)
            work.yield { await self.readLastLines(of: containers, pod: pod.id) }
        }
    }

    private func areLastLinesDue(_ pod: Pod, _ now: Instant) -> Bool {
        guard pod.phase == .running, !pod.isRun, !pod.isReady, !pod.isLost, let since = pod.unreadySince else {
            return false
        }
        guard !pod.containersRun || now - since >= Self.lastLinesDelay else { return false }
        return pod.linesReadAt.map { now - $0 >= Self.lastLinesPeriod } ?? true
    }

    /// The containers that have ended; all containers if none has.
    private static func containersToRead(_ pod: Pod) -> [String] {
        let ended = pod.plan.containers.map(\.name).filter { pod.containers[$0]?.state != .running }
        return ended.isEmpty ? pod.plan.containers.map(\.name) : ended
    }

    private func readLastLines(of containers: [String], pod id: String) async {
        defer {
            lastLineReads -= 1
            readLastLines()
        }
        // The lines of a pod that was ready meanwhile were dropped, so they are read in full.
        let known = pods[id]?.lastLines.isEmpty == false ? pods[id]?.excerpts ?? [:] : [:]
        var excerpts: [String: LogExcerpt] = [:]
        for container in containers {
            excerpts[container] = known[container]
            do {
                // A container that wrote nothing since the last read is not read again.
                let excerpt = try await withTimeLimit(Limits.logLook, clock: clock) { [engine] in
                    try await engine.lastLines(
                        container: container, pod: id, count: Self.lastLineCount, since: known[container]?.mark)
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
                let cut = Self.shortened(line)
                return containers.count == 1 ? cut : "\(container): \(cut)"
            }
        }
    }

    static func shortened(_ line: String) -> String {
        line.count > lastLineLength ? line.prefix(lastLineLength) + "…" : line
    }
}
