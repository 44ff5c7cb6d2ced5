import Core
import NIOCore
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

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

/// The limits of a server towards its callers.
package struct HTTPServerLimits: Sendable, Hashable {
    /// Target and header section of a request, in bytes.
    package var headerBytes: Int
    /// Header fields of a request.
    package var headerFields: Int
    /// A request's target, in bytes.
    package var targetBytes: Int
    /// How long a connection may be silent between two requests.
    package var idleTime: Duration
    /// The time within which a new connection must send a byte, and within which a head must be complete after its
    /// first byte.
    package var firstByteTime: Duration
    package var headTime: Duration
    /// How long a body may pause at its beginning, how long a faster one may pause at most, and the bytes a second that
    /// must arrive otherwise.
    package var bodyGrace: Duration
    package var bodyCredit: Duration
    package var bodyRate: Int
    /// The time over which the caller must read an answer at `bodyRate` on average.
    package var answerTime: Duration
    /// Open connections of one listener; further ones wait to be accepted.
    package var connections: Int
    /// How long the rest of a refused body is read and discarded, so that the caller can read the answer.
    package var lingerTime: Duration
    /// How long after the beginning of a shutdown the rest of a request is waited for. A response that its caller has
    /// not read after this and ``lingerTime`` is cut off.
    package var shutdownTime: Duration

    package init(
        headerBytes: Int = Limits.headerBytes, headerFields: Int = Limits.headerFields,
        targetBytes: Int = Limits.targetBytes, idleTime: Duration = Limits.idleConnection,
        firstByteTime: Duration = Limits.firstByte, headTime: Duration = Limits.requestHead,
        bodyGrace: Duration = Limits.bodyGrace, bodyCredit: Duration = Limits.bodyCredit,
        bodyRate: Int = Limits.bodyRate, answerTime: Duration = Limits.answerReading,
        connections: Int = Limits.connections, lingerTime: Duration = .seconds(5),
        shutdownTime: Duration = .seconds(3)
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
        self.shutdownTime = shutdownTime
    }
}

/// The addresses at which a server's listeners accept connections, for callers that wait for them.
final class BoundListeners: Sendable {
    private struct State {
        var addresses: [HTTPListener?]
        var failure: (any Error)?
        var waiting: [CheckedContinuation<[HTTPListener], any Error>] = []

        var result: Result<[HTTPListener], any Error>? {
            let all = addresses.compactMap { $0 }
            if all.count == addresses.count { return .success(all) }
            return failure.map { .failure($0) }
        }
    }

    private let state: Mutex<State>

    init(count: Int) {
        state = Mutex(State(addresses: Array(repeating: nil, count: count)))
    }

    func set(_ index: Int, to listener: HTTPListener) {
        update { $0.addresses[index] = listener }
    }

    /// The server ended; without effect once all addresses are known.
    func fail(_ error: any Error) {
        update { if $0.failure == nil { $0.failure = error } }
    }

    func wait() async throws -> [HTTPListener] {
        try await withCheckedThrowingContinuation { continuation in
            let result = state.withLock { state -> Result<[HTTPListener], any Error>? in
                if let result = state.result { return result }
                state.waiting.append(continuation)
                return nil
            }
            if let result { continuation.resume(with: result) }
        }
    }

    private func update(_ change: (inout State) -> Void) {
        let (waiting, result) = state.withLock { state in
            change(&state)
            let result = state.result
            defer { if result != nil { state.waiting = [] } }
            return (result == nil ? [] : state.waiting, result)
        }
        guard let result else { return }
        for continuation in waiting { continuation.resume(with: result) }
    }
}

/// A socket's path in a form that `bind` accepts, and the descriptor that must stay open for it.
///
/// A socket address holds about a hundred bytes. A longer path goes through its folder's descriptor
/// (`/proc/self/fd/N/name`). The calls here take microseconds on a local folder; they are made once, at start.
final class UnixSocketPath: Sendable {
    /// The path to bind to.
    let bindable: String
    private let folder: Int32?

    /// The size of `sun_path` without the closing zero.
    private static let longest = MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1

    /// - Throws: ``PlatformError`` `setup` where the folder cannot be opened, the name is too long, another file has
    ///   that name, or a server is listening there.
    init(_ path: String) throws {
        guard path.utf8.count > Self.longest else {
            self.bindable = path
            self.folder = nil
            try Self.makeRoom(at: path, called: path)
            return
        }
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        let name = path[path.index(after: slash)...]
        let descriptor = open(String(path[..<slash]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw PlatformError(
                .setup,
                "the folder of the socket \(path) cannot be opened: \(Self.reason(errno)). Create it, or choose another data directory"
            )
        }
        let short = "/proc/self/fd/\(descriptor)/\(name)"
        guard short.utf8.count <= Self.longest else {
            close(descriptor)
            throw PlatformError(.setup, "the name of the socket \(path) is too long. Choose a shorter one")
        }
        do {
            try Self.makeRoom(at: short, called: path)
        } catch {
            close(descriptor)
            throw error
        }
        self.bindable = short
        self.folder = descriptor
    }

    deinit {
        if let folder { close(folder) }
    }

    /// Removes a socket without a listener.
    private static func makeRoom(at path: String, called name: String) throws {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw PlatformError(
                .setup, "\(name) exists and is no socket. Move it away, or choose another data directory")
        }
        if isAnswering(path) {
            throw PlatformError(.setup, "another server is listening on \(name). Stop it first")
        }
        unlink(path)
    }

    private static func isAnswering(_ path: String) -> Bool {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(longest)) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        // A server whose backlog is full (EAGAIN) is running too.
        return result == 0 || errno == EAGAIN
    }

    private static func reason(_ code: Int32) -> String {
        String(cString: strerror(code))
    }
}
