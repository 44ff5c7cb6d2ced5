package import Core
import Foundation
import Logging
import Support
import Synchronization

extension DockerEngine {
    /// A container keeps its log over its restarts. When the engine itself was restarted while its lines are followed,
    /// a few may come twice.
    package func logs(container: String, pod: String, follow: Bool, tail: Int?) async throws -> LogStream<[UInt8]> {
        let id = try await member(container, of: pod)
        return LogStream { write in
            try await mapping { try await copyLogs(id, follow: follow, tail: tail, to: write) }
        }
    }

    /// The engine reads from the end. Podman may join the pieces of unfinished lines in a wrong order then, which does
    /// not matter here.
    package func lastLines(container: String, pod: String, count: Int, since mark: String?) async throws -> LogExcerpt?
    {
        let id = try await member(container, of: pod)
        return try await mapping {
            let now = Self.unixTime(clock.now())
            if let mark {
                guard try await !lastLines(id, count: 1, since: mark).isEmpty else { return nil }
            }
            return LogExcerpt(lines: try await lastLines(id, count: count, since: nil), mark: now)
        }
    }

    private func lastLines(_ id: String, count: Int, since: String?) async throws -> [String] {
        let lines = Mutex<[UInt8]>([])
        let run = LogRun(skip: 0, now: clock.instant())
        try await read(run, following: nil) {
            var assembler = LogDemultiplexer(limit: Limits.logLine)
            var length = 0
            for try await chunk in try await client.logs(id, follow: false, tail: count, since: since) {
                let batch = assembler.append(chunk)
                length += chunk.count
                lines.withLock { $0 = Array(($0 + batch).suffix(count * (Limits.logLine + 1))) }
                // A line without an end is as long as the log.
                guard length < Limits.logLookBytes else { break }
                run.waits(at: clock.instant())
            }
            let batch = assembler.finish()
            lines.withLock { $0 += batch }
        }
        return lines.withLock { lines in
            lines.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast().suffix(count)
                .map { String(decoding: $0, as: UTF8.self) }
        }
    }

    private func member(_ container: String, of pod: String) async throws -> String {
        let name = names.member(pod, container)
        let found = try await mapping { try await client.container(name) }
        guard let id = found?.id else {
            throw PlatformError(.notFound, "There is no container \(container) in replica \(pod).")
        }
        return id
    }

    private func copyLogs(
        _ id: String, follow: Bool, tail: Int?, to write: @escaping LogStream<[UInt8]>.Write
    ) async throws {
        var since: String?
        /// The end of the last run that was read whole.
        var lastEnd: String?
        var tail = tail
        var skip = 0
        /// Whether the next read is the one after the end of a run, for lines that the stream did not deliver.
        var readsRest = false
        if version.isPodman, let wanted = tail, wanted > 0 || follow {
            // Podman joins the pieces of unfinished lines in a wrong order when it counts from the end, so we count.
            skip = max(0, try await countLines(id) - wanted)
            tail = nil
        }
        while true {
            // Wait for an engine that is being restarted; the container continues meanwhile.
            guard let before = try await details(id, retrying: follow) else { return }
            if follow, !readsRest, lastEnd != nil, !before.isRunning,
                before.state?.finishedAt.flatMap(Self.unixTime) == lastEnd
            {
                // Nothing new since the last run: wait for the next one. There is no event to wait for, only the clock.
                try await clock.sleep(for: .milliseconds(200))
                continue
            }
            let opened = clock.now()
            let follows = follow && !readsRest
            let run = LogRun(skip: skip, now: clock.instant())
            var broken: (any Error)?
            do {
                try await read(run, following: follows ? before : nil) { [tail, since, readsRest] in
                    var assembler = LogDemultiplexer(limit: Limits.logLine)
                    for try await chunk in try await client.logs(id, follow: follows, tail: tail, since: since) {
                        run.gotChunk()
                        let lines = run.take(assembler.append(chunk))
                        // While the reader is slow, the engine waits.
                        if !lines.isEmpty { try await write(lines) }
                        try Task.checkCancellation()
                        run.waits(at: clock.instant())
                    }
                    run.gotChunk()
                    // A container that runs again may be in the middle of a line: the next stream has all of it.
                    guard !readsRest || !before.isRunning else { return }
                    let lines = run.take(assembler.finish())
                    if !lines.isEmpty { try await write(lines) }
                }
            } catch let refusal as DockerError {
                // Podman has other words than 404 for one that is just being removed.
                guard try await client.container(id) != nil else { return }
                throw refusal
            } catch let error as PlatformError where follow && error.code == .engineUnavailable {
                broken = error
            }
            guard follow else { return }
            tail = nil
            skip = 0
            if let broken {
                logger.debug("a log stream broke; it is opened again", metadata: ["error": "\(broken)"])
                since = Self.unixTime(max(opened, clock.now() - .seconds(1)))
                try await clock.sleep(for: .milliseconds(250))
                continue
            }
            if follows {
                let end = try await endOfRun(id, before, fallback: clock.now())
                lastEnd = end
                // Podman may end the stream of a container that stops before its last lines, and stamps a run's last
                // lines after its end when the machine is busy: what was read is counted, not dated, and the stored
                // lines are read once more.
                if !version.isPodman || since != nil { since = end } else { readsRest = true }
            } else {
                readsRest = false
            }
            if version.isPodman, since == nil { skip = run.read }
        }
    }

    private func countLines(_ id: String) async throws -> Int {
        let run = LogRun(skip: .max, now: clock.instant())
        try await read(run, following: nil) {
            var assembler = LogDemultiplexer(limit: Limits.logLine)
            for try await chunk in try await client.logs(id, follow: false, tail: nil, since: nil) {
                _ = run.take(assembler.append(chunk))
                run.waits(at: clock.instant())
            }
            _ = run.take(assembler.finish())
        }
        return run.read
    }

    /// Where the next run's lines begin: at the end of the one that has just been read.
    private func endOfRun(_ id: String, _ before: DockerClient.ContainerDetails, fallback: Timestamp) async throws
        -> String
    {
        for _ in 0..<50 {
            guard let now = try await details(id, retrying: true) else { break }
            let hasEnded = !now.isRunning || now.state?.startedAt != before.state?.startedAt
            if hasEnded, let end = now.state?.finishedAt.flatMap(Self.unixTime), end != "0" { return end }
            // The stream ends a moment before the engine notes the exit.
            try await clock.sleep(for: .milliseconds(100))
        }
        return Self.unixTime(fallback)
    }

    func details(_ id: String, retrying: Bool) async throws -> DockerClient.ContainerDetails? {
        var backoff = Backoff.engine
        while true {
            do {
                return try await client.container(id)
            } catch let error as PlatformError where retrying && error.code == .engineUnavailable {
                try await clock.sleep(for: backoff.next())
            }
        }
    }

    /// Seconds since the Unix epoch with nine decimals, from the engine's RFC 3339 with up to nine; `nil` for "never".
    static func unixTime(_ text: String) -> String? {
        let parts = text.split(separator: ".", maxSplits: 1)
        guard let first = parts.first else { return nil }
        let whole = first.hasSuffix("Z") ? String(first) : String(first) + (parts.count > 1 ? Self.zone(parts[1]) : "")
        guard let date = ISO8601DateFormatter().date(from: whole), date.timeIntervalSince1970 > 0 else { return nil }
        let digits = parts.count > 1 ? parts[1].prefix { $0.isNumber } : ""
        let nanoseconds = digits.prefix(9) + String(repeating: "0", count: max(0, 9 - digits.count))
        return "\(Int64(date.timeIntervalSince1970)).\(nanoseconds)"
    }

    /// What follows the fraction: `Z` or an offset.
    private static func zone(_ text: Substring) -> String { String(text.drop { $0.isNumber }) }

    static func unixTime(_ time: Timestamp) -> String {
        let micro = time.microseconds - time.seconds * 1_000_000
        let digits = String(micro)
        return "\(time.seconds).\(String(repeating: "0", count: max(0, 6 - digits.count)))\(digits)"
    }
}

/// How far the log of one run of a container has been read.
final class LogRun: Sendable {
    private struct State {
        var read = 0
        var skip: Int
        /// When the last wait for the stream began; `nil` while its bytes are being passed on.
        var waitingSince: Instant?
    }

    private let state: Mutex<State>

    /// - Parameter skip: lines at the beginning that are not passed on.
    init(skip: Int, now: Instant) {
        state = Mutex(State(skip: skip, waitingSince: now))
    }

    /// Lines read so far, skipped ones included.
    var read: Int { state.withLock { $0.read } }
    var waitingSince: Instant? { state.withLock { $0.waitingSince } }

    /// The stream delivered something, or ended.
    func gotChunk() {
        state.withLock { $0.waitingSince = nil }
    }

    func waits(at now: Instant) {
        state.withLock { $0.waitingSince = now }
    }

    /// Counts lines, each with its line feed.
    ///
    /// - Returns: those that are passed on.
    func take(_ lines: [UInt8]) -> [UInt8] {
        state.withLock { state in
            let lineFeed = UInt8(ascii: "\n")
            guard state.skip > 0 else {
                for byte in lines where byte == lineFeed { state.read += 1 }
                return lines
            }
            var start = lines.startIndex
            for (index, byte) in lines.enumerated() where byte == lineFeed {
                state.read += 1
                guard state.skip > 0 else { continue }
                state.skip -= 1
                start = index + 1
            }
            return Array(lines[start...])
        }
    }
}

extension DockerEngine {
    /// How long a stream that is followed may be silent after its container's end before it counts as forgotten.
    private static let silence: Duration = .seconds(2)
    /// How long an engine may take over the next piece of a log that is not followed.
    private static let lookInterval: Duration = .seconds(60)

    /// Reads a log to its end, or, with `follow`, to the end of the container's present run.
    ///
    /// Podman may forget to end a stream when its container stops just as the stream begins: once the run is over and
    /// nothing more comes, it is over.
    func read(
        _ run: LogRun, following before: DockerClient.ContainerDetails?,
        _ read: @escaping @Sendable () async throws -> Void
    )
        async throws
    {
        // Docker ends what is followed by itself.
        if before != nil, !version.isPodman { return try await read() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await read() }
            group.addTask {
                if let before {
                    try await self.waitForSilence(after: before, run)
                } else {
                    try await self.limitSilence(of: run)
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Throws when an engine that should send its stored lines sends nothing.
    private func limitSilence(of run: LogRun) async throws {
        while true {
            let waiting = run.waitingSince
            try await clock.sleep(for: Self.lookInterval)
            if waiting != nil, run.waitingSince == waiting {
                throw PlatformError(.engineUnavailable, "The container engine stands still in the middle of a log.")
            }
        }
    }

    /// Returns when the run is over and the stream has been silent since.
    private func waitForSilence(after before: DockerClient.ContainerDetails, _ run: LogRun) async throws {
        var endSeen: Instant?
        while true {
            try await clock.sleep(for: .seconds(1))
            if endSeen == nil, let now = try await details(before.id, retrying: true), now.isRunning,
                now.state?.startedAt == before.state?.startedAt
            {
                continue
            }
            let now = clock.instant()
            let end = endSeen ?? now
            endSeen = end
            if let waiting = run.waitingSince, now - max(end, waiting) >= Self.silence { return }
        }
    }
}
