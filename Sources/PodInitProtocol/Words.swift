/// The first field of a request.
package enum Verb: String, Sendable, CaseIterable {
    /// `ping` → `ok VERSION`
    case ping
    /// `connect PORT MILLISECONDS` → `ok`, with a connected socket.
    case connect
    /// `status` → `ok`, then `key=value` lines and containers (``StatusReport``).
    case status
    /// `start` and ``StartRequest`` → `ok` once the command runs.
    case start
    /// `signal CONTAINER NUMBER` → `ok`
    case signal
    /// `stop CONTAINER MILLISECONDS` → `ok` once it ended.
    case stop
    /// `exec CONTAINER MILLISECONDS CAP WORD…` → `ok CODE OUTPUT`
    case exec
    /// `subscribe` → `ok`, then an `event` frame for each container that started or ended.
    case subscribe
    /// `shutdown MILLISECONDS` → `ok` once every container ended; then `PodInit` ends.
    case shutdown
}

/// The first field of what `PodInit` sends.
package enum Answer: String, Sendable {
    case ok
    /// `error KIND MESSAGE`
    case error
    /// `event CONTAINER`
    case event
}

/// The kind of a refusal.
package enum Refusal: String, Sendable {
    /// The port does not accept; the message is the system's own text.
    case connect
    case timedOut = "timed_out"
    case badRequest = "bad_request"
    /// No such container.
    case notFound = "not_found"
    /// The container or command cannot be started.
    case container
    /// Not in this mode, or a limit is reached.
    case unavailable
    case `internal`
}

/// Limits of the conversation.
package enum PodInitLimits {
    /// Exit status of `cortex-pod-init sockets` when the kernel does not let the platform into a pod's network
    /// namespace.
    package static let notPermitted: Int32 = 3
    /// Version of the protocol; `ping` answers with it.
    package static let version = "1"
    /// Conversations open at once.
    package static let conversations = 256
    /// Forwarded connections open at once.
    package static let forwarded = 4096
    /// How long a forwarded connection waits for a platform that is being restarted, in milliseconds.
    package static let forwardTimeout: Int64 = 5000
    /// Containers of a pod.
    package static let containers = 64
    /// Commands run at once by `exec`.
    package static let execs = 64
    /// Fields of a frame that the platform takes from `PodInit`: twice the longest status report.
    package static let answerFields = 1024
    /// Processes and threads of a sandbox pod.
    package static let processes = 4096
    /// The user and group inside a sandbox. Not 0: programs treat root differently, and this one has no power.
    package static let user: UInt32 = 1000
    /// User and group ids on the host for pods of a platform that runs as root, each of which is one pod's.
    /// Distributions assign nothing here (1,879,048,192 to 2,147,352,575 is unused in the scheme of systemd).
    package static let podUsers: ClosedRange<UInt32> = 1_900_000_001...1_900_065_535
    /// The owner on disk of what such pods leave in volumes, whichever pod it was, so that the next replica can read
    /// it.
    package static let volumeUser: UInt32 = 1_900_000_000
}

/// The name (first word of the command line) of a sandbox pod's bubblewraps: by it the platform finds those that
/// outlived their supervisor, and a container does not learn a path of the host from it.
package func bubblewrapName(podFolder: String) -> String {
    // FNV-1a.
    let digest = podFolder.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    return "bwrap-" + String(digest, radix: 16)
}
