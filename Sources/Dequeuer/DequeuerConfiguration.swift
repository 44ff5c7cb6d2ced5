import Core

/// The times of the dequeuer; the defaults are the contract's.
package struct DequeuerConfiguration: Sendable, Hashable {
    /// A lease's time, and how often leases are extended while the container works (contract A10).
    package var lease: Duration
    package var leaseExtension: Duration
    /// Shortest and longest wait between two looks at an empty queue, should every hint be lost.
    package var pollMin: Duration
    package var pollMax: Duration
    /// How long requests inside containers may go on after shutdown began; what remains is given back to the queue (contract C13).
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
