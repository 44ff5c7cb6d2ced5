import Core
import HTTPServing
import Logging
import Support

/// What all routes of jobs share.
struct JobServices: Sendable {
    let store: any Store
    let orchestrator: any Orchestrator
    let runner: any JobRunner
    let board: RunBoard
    let clock: any PlatformClock
    let logger: Logger
    let makeID: @Sendable (Timestamp) -> RequestID
    /// Bytes of disk that submissions may still take.
    let spareDisk: @Sendable () -> Int64
    /// The URL of the gateway for the caller of a request, without a slash at the end.
    let gateway: @Sendable (IncomingRequest) -> String
    let news: JobNews
    let files: FileInputs
}
