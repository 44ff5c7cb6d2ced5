/// Every fixed limit of the platform, with its reason. Limits an API can choose stand in `RequestPolicy`.
package enum Limits {
    /// Bodies up to this many bytes stand in the request's row; larger ones in files beside the database.
    package static let inlineBody = 64 * 1024
    /// Bytes of a body that are gathered before they are handed on. One that is no larger is handed on whole, and
    /// stands among others on the disk.
    package static let bodyPiece = 256 * 1024
    /// `max_payload` unless an API says otherwise: 1 GiB.
    package static let maxPayload: Int64 = 1 << 30
    /// `max_result` unless an API says otherwise: 64 MiB.
    package static let maxResult: Int64 = 64 << 20
    /// How much of a container's wrong answer is kept with the error.
    package static let failureBody = 4096
    /// Characters in an idempotency key.
    package static let idempotencyKey = 255
    /// A request's header section, in bytes, and its number of fields.
    package static let headerBytes = 64 * 1024
    package static let headerFields = 256
    /// A request's target (path and query), in bytes.
    package static let targetBytes = 16 * 1024
    /// Open connections of callers at most; fewer where half of the descriptor limit is less (contract N6). The other
    /// half is for store, pods and engine.
    package static let connections = 20_000
    /// A connection that is silent between two requests for this long is closed.
    package static let idleConnection: Duration = .seconds(120)
    /// A new connection must have sent a byte by then, and a head must be complete this long after its first byte
    /// (contract N6).
    package static let firstByte: Duration = .seconds(10)
    package static let requestHead: Duration = .seconds(15)
    /// A body must arrive at this many bytes a second, after this time from its beginning. A faster one may pause up to
    /// `bodyCredit` (contract N6).
    package static let bodyRate = 240
    package static let bodyGrace: Duration = .seconds(5)
    package static let bodyCredit: Duration = .seconds(10)
    /// An answer must be read at `bodyRate` too, on average over this time: longer than a reader's terminal is usually
    /// stopped.
    package static let answerReading: Duration = .seconds(60)
    /// Bytes of bodies that are in memory at once, of all connections (contract N6). Those with more than `smallBody`
    /// may take three quarters of it.
    package static let bodiesInMemory = 256 << 20
    package static let smallBody = 16 * 1024
    /// A `cortex.yaml`, in bytes.
    package static let configuration = 1 << 20
    /// Its values, with what aliases repeat; its levels; and the problems of it that are reported.
    package static let configurationNodes = 200_000
    package static let configurationDepth = 64
    package static let configurationProblems = 1000
    /// Longest wait of a long poll.
    package static let longPoll: Duration = .seconds(60)
    /// A lease's time, and how often it is extended while the container works.
    package static let lease: Duration = .seconds(30)
    package static let leaseExtension: Duration = .seconds(10)
    /// Longest wait before another attempt, not yet spread by a fifth (contract A11).
    package static let retryBackoff: Duration = .seconds(300)
    /// Connections that are refused to one delivery before that counts as an attempt (contract A11).
    package static let refusedConnections = 5
    /// Deliveries of one request that the platform itself cut off because of what its container did (a failing liveness
    /// probe, too much disk), before the request fails (contract C13).
    package static let interruptions = 3
    /// A log line, in bytes; what is longer is cut into pieces.
    package static let logLine = 16 * 1024
    /// Bytes of a container's log that are read at once.
    package static let logBlock = 32 * 1024
    /// Bytes of log lines that wait for one reader's connection; past this the containers' logs are read no further.
    package static let logBuffer = 128 * 1024
    /// Containers whose last lines the platform reads at the same time for its own use, and how long one such read may
    /// take.
    package static let logLooks = 2
    package static let logLook: Duration = .seconds(15)
    /// Bytes of a container's log that one such read takes into account.
    package static let logLookBytes = 1 << 20
    /// Output of a command inside a container; a command that writes more is ended.
    package static let execOutput = 2 << 20
    /// After a shutdown began, a log reader that takes nothing for this long is cut off.
    package static let logDrain: Duration = .seconds(5)
    /// How often the disk of pods with `compute.disk` is measured. A measurement that takes long is repeated less
    /// often.
    package static let diskPeriod: Duration = .seconds(5)
    /// How long one pod without `compute.disk` is measured while the disk is nearly full; what was counted by then is
    /// compared.
    package static let diskLook: Duration = .seconds(10)
    /// How long the removal of such a pod is awaited before the next one is stopped.
    package static let diskErasure: Duration = .seconds(60)
    /// How long `describe` shows that a replica was stopped for its use of the disk.
    package static let diskProblemShown: Duration = .seconds(3600)
    /// A container's log on disk (sandbox engine): this many bytes, kept twice.
    package static let logFile = 16 << 20
    /// Deployed versions of an API that are kept.
    package static let versions = 10
    /// Decisions of the autoscaler that are kept of each API.
    package static let scalingDecisions = 100
    /// Rows of a list page.
    package static let listPage = 1000
    /// How long a file system may take to say what the sources of volumes are.
    package static let volumeCheck: Duration = .seconds(20)
    /// Longest time of an engine's answer to a question (list, capacity, problems), of a pull, of a start, and of a
    /// stop beyond the grace period. An operation that takes longer is cancelled and no longer waited for.
    package static let engineQuery: Duration = .seconds(20)
    package static let enginePull: Duration = .seconds(3600)
    package static let engineStart: Duration = .seconds(180)
    package static let engineStop: Duration = .seconds(60)
    /// How long a cancelled operation of an engine may take to end before the next one begins on the same pod.
    package static let engineCancellation: Duration = .seconds(5)
    /// How long the dequeuer may take to release the requests of a replica that was cut.
    package static let cutRelease: Duration = .seconds(5)
    /// Deploys, refreshes, rollbacks and deletes that wait for another one of the same API.
    package static let waitingChanges = 256
    /// How long the supervisor process of a sandbox pod may take to begin (sandbox engine).
    package static let supervisorStart: Duration = .seconds(30)
    /// Pods whose folders are erased at the same time (sandbox engine).
    package static let podRemovals = 4
    /// Threads for blocking calls, and work that may wait for one of them.
    package static let blockingThreads = 16
    package static let blockingQueue = 10_000
    /// Threads for looks at what may never answer, such as a file system.
    package static let checkThreads = 4
    /// Threads that read containers' logs from disk.
    package static let logThreads = 2
    /// Bytes of log lines that wait for a reader of standard error; further lines are dropped and counted.
    package static let standardErrorBuffer = 1 << 20
    /// The shortest grace period of a shutdown (contract U4): what pods get that have no requests to finish.
    package static let shutdownGrace: Duration = .seconds(10)
    /// The longest `pod.termination_grace_period`.
    package static let longestGrace: Duration = .seconds(3600)
    /// Time after the grace period of a shutdown when everything that still runs is cancelled, and when the process
    /// ends whatever runs.
    package static let shutdownCancel: Duration = .seconds(11)
    package static let shutdownExit: Duration = .seconds(13)
}
