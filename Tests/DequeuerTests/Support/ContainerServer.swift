import Core
import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// A container as raw as it can be: it reads and writes bytes on sockets of this machine, well behaved or not.
final class ContainerServer: Sendable {
    /// One accepted connection.
    struct Connection {
        var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
        let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
        let number: Int
        private let channel: any Channel
        private var rest = ByteBuffer()

        init(
            _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>, _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>,
            _ channel: any Channel, _ number: Int
        ) {
            self.inbound = inbound.makeAsyncIterator()
            self.outbound = outbound
            self.channel = channel
            self.number = number
        }

        /// The next request's head as text, without the empty line; `nil` at the end.
        mutating func readHead() async throws -> String? {
            while true {
                let bytes = Array(rest.readableBytesView)
                if let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) {
                    rest.moveReaderIndex(forwardBy: end.upperBound)
                    return String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
                }
                guard let piece = try await inbound.next() else { return nil }
                rest.writeImmutableBuffer(piece)
            }
        }

        /// Reads so many bytes of a body and hands them on in pieces.
        mutating func readBody(_ count: Int, _ piece: (ByteBuffer) -> Void = { _ in }) async throws {
            var left = count
            while left > 0 {
                if rest.readableBytes == 0 {
                    guard let next = try await inbound.next() else { throw PlatformError(.connectionFailed, "closed") }
                    rest = next
                }
                let count = min(left, rest.readableBytes)
                if let slice = rest.readSlice(length: count) { piece(slice) }
                left -= count
            }
        }

        /// The next whole request; `nil` at the end.
        mutating func readRequest() async throws -> SeenRequest? {
            guard let text = try await readHead() else { return nil }
            var request = SeenRequest(head: text, body: [])
            var body: [UInt8] = []
            try await readBody(request.contentLength) { body += $0.readableBytesView }
            request.body = body
            return request
        }

        func write(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }

        func write(_ bytes: [UInt8]) async throws { try await outbound.write(ByteBuffer(bytes: bytes)) }

        /// Returns when the socket took all of it; `write` only waits while the channel knows that it is full, which a
        /// busy event loop notices late.
        func writeThrough(_ bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

        func answer(_ body: String, status: String = "200 OK", type: String? = "application/json", extra: String = "")
            async throws
        {
            let type = type.map { "Content-Type: \($0)\r\n" } ?? ""
            try await write("HTTP/1.1 \(status)\r\n\(type)Content-Length: \(body.utf8.count)\r\n\(extra)\r\n\(body)")
        }

        /// Returns when the other side has closed.
        mutating func waitForClose() async {
            while (try? await inbound.next()) != nil {}
        }
    }

    let port: Int
    private let channel: any Channel
    /// Loops of its own, as a container is another process: one that writes without end must not take the time of the
    /// worker's loops.
    private static let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)

    private let children: AsyncStream<NIOAsyncChannel<ByteBuffer, ByteBuffer>>
    private let arrivals: AsyncStream<NIOAsyncChannel<ByteBuffer, ByteBuffer>>.Continuation
    private let accepted = Mutex(0)
    private let open = Mutex(0)

    /// Connections accepted so far.
    var connections: Int { accepted.withLock { $0 } }
    var openConnections: Int { open.withLock { $0 } }

    private init() async throws {
        let (children, arrivals) = AsyncStream.makeStream(of: NIOAsyncChannel<ByteBuffer, ByteBuffer>.self)
        self.children = children
        self.arrivals = arrivals
        channel = try await ServerBootstrap(group: Self.group)
            .serverChannelOption(.backlog, value: 128)
            .childChannelInitializer { child in
                child.eventLoop.makeCompletedFuture {
                    let connection = try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: child)
                    // One that comes while the server stops must be closed properly: NIO traps on a channel that is
                    // dropped.
                    if case .terminated = arrivals.yield(connection) {
                        Task { try? await connection.executeThenClose { _, _ in } }
                    }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress?.port ?? 0
    }

    /// Serves every connection with `handler` while `body` runs; the connection is closed when the handler returns or
    /// throws.
    static func with<Result: Sendable>(
        _ handler: @escaping @Sendable (inout Connection) async throws -> Void,
        _ body: (ContainerServer) async throws -> Result
    ) async throws -> Result {
        let server = try await ContainerServer()
        let task = Task { await server.serve(handler) }
        do {
            let result = try await body(server)
            await server.stop(task)
            return result
        } catch {
            await server.stop(task)
            throw error
        }
    }

    private func stop(_ task: Task<Void, Never>) async {
        try? await channel.close()
        arrivals.finish()
        await task.value
    }

    private func serve(_ handler: @escaping @Sendable (inout Connection) async throws -> Void) async {
        await withDiscardingTaskGroup { group in
            for await child in children {
                let number = self.accepted.withLock { count -> Int in
                    count += 1
                    return count
                }
                self.open.withLock { $0 += 1 }
                group.addTask {
                    try? await child.executeThenClose { inbound, outbound in
                        var connection = Connection(inbound, outbound, child.channel, number)
                        try await handler(&connection)
                    }
                    self.open.withLock { $0 -= 1 }
                }
            }
            group.cancelAll()
        }
    }
}

/// A request as a container saw it.
struct SeenRequest: Sendable {
    var head: String
    var body: [UInt8]

    var line: String { String(head.prefix { $0 != "\r\n" }) }

    /// The values of a field, in order.
    func values(_ name: String) -> [String] {
        head.split(separator: "\r\n").dropFirst().compactMap { line in
            guard let colon = line.firstIndex(of: ":"), line[..<colon].lowercased() == name.lowercased() else {
                return nil
            }
            return String(line[line.index(after: colon)...].drop { $0 == " " })
        }
    }

    var contentLength: Int { values("content-length").first.flatMap { Int($0) } ?? 0 }
}

/// Connects to the test's server, for any port; can refuse.
final class LoopbackConnector: Connector {
    let port: Int
    private let refusals: Mutex<Int>
    private let calls = Mutex(0)

    init(port: Int, refusing count: Int = 0) {
        self.port = port
        self.refusals = Mutex(count)
    }

    var attempts: Int { calls.withLock { $0 } }

    func connect(port: Int) async throws -> CInt {
        calls.withLock { $0 += 1 }
        let refuses = refusals.withLock { count -> Bool in
            guard count > 0 else { return false }
            count -= 1
            return true
        }
        guard !refuses else { throw PlatformError(.connectionFailed, "it refused the connection.") }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        // The kernel would let the buffer grow to 32 MiB, and a test of what is read ahead would measure that.
        var buffer: CInt = 1 << 20
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &buffer, socklen_t(MemoryLayout<CInt>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(self.port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Foundation.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            close(descriptor)
            throw PlatformError(.connectionFailed, "it refused the connection.")
        }
        return descriptor
    }
}
