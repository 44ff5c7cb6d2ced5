import Core
import Synchronization

/// How far the log of one run of a container has been read.
final class LogRun: Sendable {
    private struct State {
        var read = 0
        var skip: Int
        /// When the stream was last waited for; `nil` while what it brought is being handed on.
        var waitingSince: Instant?
    }

    private let state: Mutex<State>

    /// - Parameter skip: lines at the beginning that are not handed on.
    init(skip: Int, now: Instant) {
        state = Mutex(State(skip: skip, waitingSince: now))
    }

    /// Lines read so far, skipped ones included.
    var read: Int { state.withLock { $0.read } }
    var waitingSince: Instant? { state.withLock { $0.waitingSince } }

    /// The stream brought something, if only its end.
    func gotChunk() {
        state.withLock { $0.waitingSince = nil }
    }

    func waits(at now: Instant) {
        state.withLock { $0.waitingSince = now }
    }

    /// Counts lines, each with its line feed.
    ///
    /// - Returns: those that are to be handed on.
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
    /// How long a stream that is followed may be silent after its container's end before it is taken for forgotten.
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

    /// Throws when an engine that is to tell what it has stands still.
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
