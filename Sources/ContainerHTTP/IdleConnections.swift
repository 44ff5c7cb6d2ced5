package import Core

/// Open connections into one replica that wait for their next request. They all belong to one event loop, and are
/// used there only.
package struct IdleConnections {
    private let lifetime: Duration
    /// Sorted by the time since when they are idle.
    private var connections: [ContainerConnection] = []

    /// - Parameter lifetime: how long a connection may be idle before it is closed.
    package init(lifetime: Duration) {
        self.lifetime = lifetime
    }

    package var count: Int { connections.count }

    /// Returns the connection that was used last, if it can carry another request; closes those that cannot.
    package mutating func take(now: Instant) -> ContainerConnection? {
        let oldest = now - lifetime
        while let connection = connections.popLast() {
            if Self.isFresh(connection, oldest) { return connection }
            connection.close()
        }
        return nil
    }

    /// Keeps a connection whose last answer was read to its end.
    ///
    /// - Returns: when the connection expires.
    package mutating func add(_ connection: ContainerConnection, now: Instant) -> Instant {
        connection.rest(since: now)
        connections.append(connection)
        return now + lifetime
    }

    /// Closes the connections that were idle for too long or cannot be used any more.
    ///
    /// - Returns: when the next connection expires; `nil` when none is left.
    package mutating func closeExpired(now: Instant) -> Instant? {
        let oldest = now - lifetime
        connections.removeAll { connection in
            guard !Self.isFresh(connection, oldest) else { return false }
            connection.close()
            return true
        }
        return connections.first.map { $0.idleSince + lifetime }
    }

    package mutating func closeAll() {
        for connection in connections { connection.close() }
        connections = []
    }

    private static func isFresh(_ connection: ContainerConnection, _ oldest: Instant) -> Bool {
        connection.idleSince > oldest && connection.isUsable
    }
}
