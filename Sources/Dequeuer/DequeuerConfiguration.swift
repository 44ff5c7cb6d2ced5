import Core
import Support

/// The times of the dequeuer; the defaults are the contract's.
package struct DequeuerConfiguration: Sendable, Hashable {
    /// A lease's time, and how often leases are extended while the container works (contract A10).
    package var lease: Duration
    package var leaseExtension: Duration
    /// Shortest and longest wait between two looks at an empty queue, should every hint be lost.
    package var pollMin: Duration
    package var pollMax: Duration
    /// How long requests inside containers may go on after shutdown began; what remains is given back to the queue
    /// (contract C13).
    package var grace: Duration
    /// How long a kept connection is used again. Shorter than any server's own limit (2 s and more), so that a request
    /// practically never meets a connection that is just being closed.
    package var idleConnection: Duration

    package init(
        lease: Duration = Limits.lease, leaseExtension: Duration = Limits.leaseExtension,
        pollMin: Duration = .seconds(1), pollMax: Duration = .seconds(5), grace: Duration = .seconds(60),
        idleConnection: Duration = .seconds(1)
    ) {
        self.lease = lease
        self.leaseExtension = leaseExtension
        self.pollMin = pollMin
        self.pollMax = pollMax
        self.grace = grace
        self.idleConnection = idleConnection
    }
}

extension Backoff {
    /// For a store that does not answer.
    static let store = Backoff(first: .milliseconds(250), longest: .seconds(5))
    /// Between two attempts to connect within one delivery: a server that has just restarted listens again within a
    /// second.
    static let refusal = Backoff(first: .milliseconds(25), longest: .milliseconds(400))
    /// For a pod that is marked ready and does not connect: it must not use up the attempts of the queue until its
    /// probe fails.
    static let replica = Backoff(first: .milliseconds(250), longest: .seconds(5))
}
