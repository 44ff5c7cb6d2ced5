import Core

/// Where a server listens.
package enum HTTPListener: Sendable, Hashable, CustomStringConvertible {
    /// A TCP port; 0 asks for any free one.
    case tcp(host: String, port: Int)
    /// A socket in the file system, of any length of path. A stale socket there is removed; anything else is refused.
    case unix(path: String)

    package var description: String {
        switch self {
        case .tcp(let host, let port): "\(host.contains(":") ? "[\(host)]" : host):\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

/// What bounds a server towards its callers.
package struct HTTPServerLimits: Sendable, Hashable {
    /// Target and header section of a request, in bytes.
    package var headerBytes: Int
    /// Header fields of a request.
    package var headerFields: Int
    /// A request's target, in bytes.
    package var targetBytes: Int
    /// How long a connection may be silent between two requests.
    package var idleTime: Duration
    /// Until when a new connection must have sent a byte, and a head must be complete after its first one.
    package var firstByteTime: Duration
    package var headTime: Duration
    /// How long a body may be silent from its beginning, how much more a faster one may pause, and how many bytes a
    /// second it must bring otherwise.
    package var bodyGrace: Duration
    package var bodyCredit: Duration
    package var bodyRate: Int
    /// Over which time an answer must be read at `bodyRate`.
    package var answerTime: Duration
    /// Open connections of one listener; further ones wait to be accepted.
    package var connections: Int
    /// How long the rest of a refused body is read and thrown away, so that the caller gets to see the answer.
    package var lingerTime: Duration

    package init(
        headerBytes: Int = Limits.headerBytes, headerFields: Int = Limits.headerFields,
        targetBytes: Int = Limits.targetBytes, idleTime: Duration = Limits.idleConnection,
        firstByteTime: Duration = Limits.firstByte, headTime: Duration = Limits.requestHead,
        bodyGrace: Duration = Limits.bodyGrace, bodyCredit: Duration = Limits.bodyCredit,
        bodyRate: Int = Limits.bodyRate, answerTime: Duration = Limits.answerReading,
        connections: Int = Limits.connections, lingerTime: Duration = .seconds(5)
    ) {
        self.headerBytes = headerBytes
        self.headerFields = headerFields
        self.targetBytes = targetBytes
        self.idleTime = idleTime
        self.firstByteTime = firstByteTime
        self.headTime = headTime
        self.bodyGrace = bodyGrace
        self.bodyCredit = bodyCredit
        self.bodyRate = bodyRate
        self.answerTime = answerTime
        self.connections = connections
        self.lingerTime = lingerTime
    }
}
