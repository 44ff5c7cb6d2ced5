import NIOCore
import NIOHTTP1
import NIOPosix

/// A connection of a test: writes exactly the given bytes and reads what comes.
package final class RawConnection {
    private let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private var unread = ""

    private init(
        _ channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>, _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) {
        self.channel = channel
        self.inbound = inbound.makeAsyncIterator()
        self.outbound = outbound
    }

    package static func open<Result>(
        port: Int, _ body: (RawConnection) async throws -> Result
    ) async throws -> Result {
        try await open(try SocketAddress(ipAddress: "127.0.0.1", port: port), body)
    }

    package static func open<Result>(
        socket path: String, _ body: (RawConnection) async throws -> Result
    ) async throws -> Result {
        try await open(try SocketAddress(unixDomainSocketPath: path), body)
    }

    private static func open<Result>(
        _ address: SocketAddress, _ body: (RawConnection) async throws -> Result
    ) async throws -> Result {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .connect(to: address) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel,
                        configuration: .init(isOutboundHalfClosureEnabled: true))
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            try await body(RawConnection(channel, inbound, outbound))
        }
    }

    package func send(_ text: String) async throws {
        try await outbound.write(ByteBuffer(string: text))
    }

    package func send(bytes: [UInt8]) async throws {
        try await outbound.write(ByteBuffer(bytes: bytes))
    }

    /// Closes the sending side.
    package func finish() { outbound.finish() }

    /// Breaks the connection off with a reset.
    package func abort() async throws {
        // `struct linger`: its first half switches it on, its second is no time at all.
        try await channel.channel.setOption(.socketOption(.init(rawValue: 13)), value: 1).get()
        try await channel.channel.close()
    }

    /// Everything until the server closes.
    package func readToEnd() async throws -> String {
        while let piece = try await inbound.next() { unread += String(buffer: piece) }
        defer { unread = "" }
        return unread
    }

    /// Up to and with the first occurrence of `mark`.
    package func read(through mark: String) async throws -> String {
        while true {
            if let range = unread.firstRange(of: mark) {
                defer { unread = String(unread[range.upperBound...]) }
                return String(unread[..<range.upperBound])
            }
            guard let piece = try await inbound.next() else { throw ConnectionEnded(after: unread) }
            unread += String(buffer: piece)
        }
    }

    /// One answer with a `Content-Length`, or none for `HEAD` and interim ones.
    package func readResponse(hasBody: Bool = true) async throws -> RawResponse {
        let head = try await read(through: "\r\n\r\n")
        var response = RawResponse(head: head)
        let length = hasBody ? response.headers["content-length"].flatMap { Int($0) } ?? 0 : 0
        while unread.utf8.count < length {
            guard let piece = try await inbound.next() else { throw ConnectionEnded(after: unread) }
            unread += String(buffer: piece)
        }
        let end = unread.utf8.index(unread.startIndex, offsetBy: length)
        response.body = String(unread[..<end])
        unread = String(unread[end...])
        return response
    }
}

package struct ConnectionEnded: Error {
    package let after: String
    init(after: String) { self.after = after }
}

package struct RawResponse {
    package let status: Int
    package let headers: [String: String]
    package var body = ""

    init(head: String) {
        let lines = head.split(separator: "\r\n")
        status = lines.first.flatMap { Int($0.split(separator: " ").dropFirst().first ?? "") } ?? 0
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            headers[line[..<colon].lowercased()] = String(value)
        }
        self.headers = headers
    }
}
