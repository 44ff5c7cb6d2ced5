package import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// What lies beneath a connection into a container: a socket, or in a simulation none. Never asked per byte.
package protocol ContainerTransport: Sendable {
    /// Makes an active channel of a connected descriptor, which the channel owns from now on. It reads only when asked
    /// to.
    ///
    /// - Parameter initialize: adds the handlers; to be called on the channel's loop before the channel is active.
    func channel(
        of descriptor: CInt, on loop: any EventLoop,
        initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel>

    /// Whether nothing waits at a channel's open descriptor that its loop has not seen yet, neither bytes nor their
    /// end.
    func isQuiet(_ descriptor: CInt) -> Bool

    /// What is known of the bytes that were sent on an open descriptor; `nil` where the system does not tell.
    func acknowledgement(_ descriptor: CInt) -> Acknowledgement?
}

/// What the other side's system said about the bytes that were sent to it.
package struct Acknowledgement: Sendable, Hashable {
    /// How many it acknowledged since the connection began, counted from any fixed number.
    package var bytes: Int64
    /// Whether it rejected what was sent, because the connection was closed there: it can no longer be read.
    package var isRejected: Bool

    package init(bytes: Int64, isRejected: Bool) {
        self.bytes = bytes
        self.isRejected = isRejected
    }
}

/// The sockets of this machine.
package struct SocketTransport: ContainerTransport {
    package init() {}

    package func channel(
        of descriptor: CInt, on loop: any EventLoop,
        initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel> {
        ClientBootstrap(group: loop)
            .channelOption(.autoRead, value: false)
            // So that the end of what the container sends is seen while the socket is still open and can be asked about
            // the request.
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer(initialize)
            .withConnectedSocket(descriptor)
    }

    package func isQuiet(_ descriptor: CInt) -> Bool {
        var byte: UInt8 = 0
        return recv(descriptor, &byte, 1, Self.peek) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)
    }

    package func acknowledgement(_ descriptor: CInt) -> Acknowledgement? {
        #if os(Linux)
            return withUnsafeTemporaryAllocation(byteCount: 256, alignment: 8) { buffer -> Acknowledgement? in
                var size = socklen_t(buffer.count)
                guard getsockopt(descriptor, Int32(IPPROTO_TCP), Self.tcpInfo, buffer.baseAddress, &size) == 0,
                    Int(size) >= Self.acknowledgedOffset + 8
                else { return nil }
                let bytes = buffer.load(fromByteOffset: Self.acknowledgedOffset, as: UInt64.self)
                return Acknowledgement(bytes: Int64(clamping: bytes), isRejected: buffer[0] == Self.closedState)
            }
        #else
            return nil
        #endif
    }

    private static let peek = Int32(MSG_PEEK)
    /// `TCP_INFO`, and the offset of `tcpi_bytes_acked` in its answer: 8 bytes, 24 words of 32 bits and two of 64
    /// bits come before it (Linux 4.1, `linux/tcp.h`). The C library's own declaration of the structure ends earlier.
    private static let tcpInfo: CInt = 11
    private static let acknowledgedOffset = 120
    /// `TCP_CLOSE`: after the other side's end came its RST for what was sent later. After an end alone the state is
    /// another one, and the other side may go on reading.
    private static let closedState: UInt8 = 7
}
