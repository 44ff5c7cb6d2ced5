import ContainerHTTP
import Core

/// One request inside a container, or with an outcome that is not yet stored. Belongs to its worker.
final class Delivery {
    enum Interruption {
        /// The attempt took longer than `timeout`.
        case timedOut
        /// The platform breaks it off: shutdown or a drained replica. Uses up no attempt.
        case brokenOff
        /// The request ended otherwise or was given to someone else: whatever comes of it is dropped.
        case leaseLost
    }

    let request: ClaimedRequest
    let replica: ReadyReplica
    let startedAt: Instant
    let deadline: Instant
    /// Whether the container may still be working on it.
    var isInside = true
    private(set) var interruption: Interruption?
    /// What has to stop when the delivery is interrupted.
    var connection: ContainerConnection?
    var wait: Task<Void, Never>?
    var connecting: ConnectionAttempt?
    /// Whether the whole request is on its way; a connection is kept only then.
    var isSent = false
    /// Why the payload could not be read.
    var payloadError: (any Error)?

    init(_ request: ClaimedRequest, replica: ReadyReplica, now: Instant) {
        self.request = request
        self.replica = replica
        self.startedAt = now
        self.deadline = now + replica.api.specification.requests.timeout
    }

    var lease: Lease { request.lease }

    /// Closes the connection; the first reason counts.
    func interrupt(_ reason: Interruption) {
        if interruption == nil { interruption = reason }
        connecting?.cancel()
        connection?.close()
        wait?.cancel()
    }
}
