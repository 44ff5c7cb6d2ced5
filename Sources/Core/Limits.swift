/// Every fixed limit of the platform, with its reason. Limits that an API can set are in `RequestPolicy`.
package enum Limits {
    /// Bodies up to this number of bytes are in the request's row; larger ones in files beside the database.
    package static let inlineBody = 64 * 1024
    /// Bytes of a body that are collected before they are passed on. A body up to this size is passed on as a whole and
    /// shares a file on the disk.
    package static let bodyPiece = 256 * 1024
    /// The default of `max_payload`: 1 GiB.
    package static let maxPayload: Int64 = 1 << 30
    /// The default of `max_result`: 64 MiB.
    package static let maxResult: Int64 = 64 << 20
    /// The default of `max_artifacts`: 1 GiB.
    package static let maxArtifacts: Int64 = 1 << 30
    /// Bytes of a container's error answer that are kept with the error.
    package static let failureBody = 4096
    /// The longest idempotency key, in characters.
    package static let idempotencyKey = 255
    /// A request's header section, in bytes, and its number of fields.
    package static let headerBytes = 64 * 1024
    package static let headerFields = 256
    /// A request's target (path and query), in bytes.
    package static let targetBytes = 16 * 1024
    /// The largest number of open connections of callers; fewer if half of the descriptor limit is less (contract N6).
    /// The other half is for store, pods and engine.
    package static let connections = 20_000
    /// A connection that is silent between two requests for this long is closed.
    package static let idleConnection: Duration = .seconds(120)
    /// Limits for the first byte of a new connection, and from there to a complete head (contract N6).
    package static let firstByte: Duration = .seconds(10)
    package static let requestHead: Duration = .seconds(15)
    /// The minimum rate of a body in bytes per second, after this time from its beginning. A faster one may pause for
    /// up to `bodyCredit` (contract N6).
    package static let bodyRate = 240
    package static let bodyGrace: Duration = .seconds(5)
    package static let bodyCredit: Duration = .seconds(10)
    /// An answer must be read at `bodyRate` too, on average over this time: longer than a reader's terminal is usually
    /// stopped.
    package static let answerReading: Duration = .seconds(60)
    /// Bytes of all bodies in memory at once (contract N6). Bodies with more than `smallBody` may use three quarters of
    /// it.
    package static let bodiesInMemory = 256 << 20
    package static let smallBody = 16 * 1024
    /// Bytes of a request that are kept to send it to another replica. A larger one is delivered once (contract R15).
    package static let proxyResend = 64 * 1024
    /// When the platform asks for a body in place of a container that does not (contract R7).
    package static let proxyContinue: Duration = .seconds(1)
    /// A connection into a container of a RealtimeAPI that is idle for this long is closed.
    package static let proxyIdleConnection: Duration = .seconds(60)
    /// How long requests may wait for a replica after a shutdown has begun (contract R17).
    package static let proxyShutdownWait: Duration = .seconds(5)
    /// A `cortex.yaml`, in bytes.
    package static let configuration = 1 << 20
    /// Its values, counting each alias; its depth; and the number of reported problems.
    package static let configurationNodes = 200_000
    package static let configurationDepth = 64
    package static let configurationProblems = 1000
    /// Rules in `match` of a TrafficSplitter (contract X5).
    package static let splitterMatches = 32
    /// Planned times of a schedule that `catch_up: all` starts after a pause, and skips of a schedule that are kept
    /// (contract J14).
    package static let scheduleCatchUp = 1000
    package static let scheduleSkips = 100
    /// A planned time that is due for longer than this was missed (contract J14, "Catch-up").
    package static let scheduleLateness: Duration = .seconds(10)
    /// The longest `timeout` of a job's submission in seconds, 292 years: the longest time in 64 bits of nanoseconds.
    package static let jobTimeout = 9_223_372_036
    /// Longest wait of a long poll.
    package static let longPoll: Duration = .seconds(60)
    /// The duration of a lease, and the interval of its extension while the container works.
    package static let lease: Duration = .seconds(30)
    package static let leaseExtension: Duration = .seconds(10)
    /// How often a process records in the store that it lives, and the time without it after which the process is
    /// gone: three missed records, and less than a lease.
    package static let heartbeat: Duration = .seconds(5)
    package static let processTimeout: Duration = .seconds(20)
    /// Longest delay before another attempt, without the random share of a fifth (contract A11).
    package static let retryBackoff: Duration = .seconds(300)
    /// Refused connections in one delivery before it counts as an attempt (contract A11).
    package static let refusedConnections = 5
    /// Deliveries of one request that the platform cut off because of its container's behaviour (a failing liveness
    /// probe, too much disk), before the request fails (contract C13).
    package static let interruptions = 3
    /// The longest log line, in bytes; a longer one is split.
    package static let logLine = 16 * 1024
    /// Bytes of a container's log that are read at once.
    package static let logBlock = 32 * 1024
    /// Bytes of log lines that wait for one reader's connection; beyond this the containers' logs are not read further.
    package static let logBuffer = 128 * 1024
    /// The number of containers whose last lines the platform reads at the same time for its own use, and the time
    /// limit of one such read.
    package static let logLooks = 2
    package static let logLook: Duration = .seconds(15)
    /// Bytes of a container's log that one such read uses.
    package static let logLookBytes = 1 << 20
    /// Pods of job workers that are started at the same time: a job may have a thousand.
    package static let workerStarts = 8
    /// How long the end of a run waits for the container's last lines.
    package static let runLastLines: Duration = .seconds(2)
    /// The output limit of a command inside a container; a command that writes more is ended.
    package static let execOutput = 2 << 20
    /// After the beginning of a shutdown, a log reader that reads nothing for this time is disconnected.
    package static let logDrain: Duration = .seconds(5)
    /// How often the disk of pods with `compute.disk` is measured. A slow measurement is repeated less often.
    package static let diskPeriod: Duration = .seconds(5)
    /// The time limit for measuring one pod without `compute.disk` while the disk is nearly full; the partial sum is
    /// used.
    package static let diskLook: Duration = .seconds(10)
    /// The time limit for the removal of such a pod before the next one is stopped.
    package static let diskErasure: Duration = .seconds(60)
    /// How long `describe` shows that a replica was stopped for its use of the disk.
    package static let diskProblemShown: Duration = .seconds(3600)
    /// A container's log on disk (sandbox engine): two files of this number of bytes.
    package static let logFile = 16 << 20
    /// The number of deployed versions that are kept of an API.
    package static let versions = 10
    /// The number of the autoscaler's decisions that are kept of an API.
    package static let scalingDecisions = 100
    /// Rows of a list page.
    package static let listPage = 1000
    /// The number of jobs that a list of APIs shows of each one, unless more are open.
    package static let listedJobs = 10
    /// The time limit of a file system for checking the sources of volumes.
    package static let volumeCheck: Duration = .seconds(20)
    /// Time limits of an engine's query (list, capacity, problems), of a pull, of a start, and of a stop beyond the
    /// grace period. An operation that takes longer is cancelled, and nothing waits for it any more.
    package static let engineQuery: Duration = .seconds(20)
    package static let enginePull: Duration = .seconds(3600)
    package static let engineStart: Duration = .seconds(180)
    package static let engineStop: Duration = .seconds(60)
    /// The time that a cancelled operation of an engine has before the next one begins on the same pod.
    package static let engineCancellation: Duration = .seconds(5)
    /// The time that the dequeuer has to release the requests of a replica that was cut.
    package static let cutRelease: Duration = .seconds(5)
    /// The number of deploys, refreshes, rollbacks and deletes that wait for another one of the same API.
    package static let waitingChanges = 256
    /// The time limit for the start of a sandbox pod's supervisor (sandbox engine).
    package static let supervisorStart: Duration = .seconds(30)
    /// The number of pods whose folders are erased at the same time (sandbox engine).
    package static let podRemovals = 4
    /// The number of threads for blocking calls, and of calls that wait for one of them.
    package static let blockingThreads = 16
    package static let blockingQueue = 10_000
    /// The number of threads for checks that may never return, such as calls of a file system.
    package static let checkThreads = 4
    /// The number of threads that read containers' logs from disk.
    package static let logThreads = 2
    /// Bytes of log lines that wait for a reader of standard error; further lines are dropped and counted.
    package static let standardErrorBuffer = 1 << 20
    /// How long a replica that refused a connection gets no request while another is ready (contract R15).
    package static let replicaAvoidance: Duration = .seconds(1)
    /// How long a sticky request waits only for the replica of its key (contract R22).
    package static let stickyWait: Duration = .seconds(1)
    /// The time that traffic figures describe (contract R24).
    package static let trafficWindow: Duration = .seconds(60)
    /// The shortest grace period of a shutdown (contract U4), for pods without requests.
    package static let shutdownGrace: Duration = .seconds(10)
    /// The longest `pod.termination_grace_period`.
    package static let longestGrace: Duration = .seconds(3600)
    /// The times after the grace period of a shutdown at which everything that still runs is cancelled, and at which
    /// the process ends.
    package static let shutdownCancel: Duration = .seconds(11)
    package static let shutdownExit: Duration = .seconds(13)
}
