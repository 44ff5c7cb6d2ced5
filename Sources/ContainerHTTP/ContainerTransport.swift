package import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Makes the channel of a connection into a container: a socket, or a substitute in the simulation.
package protocol ContainerTransport: Sendable {
    /// Makes an active channel of a connected descriptor, which the channel owns from now on. It reads only on request.
    ///
    /// - Parameter initialize: adds the handlers. It is called on the channel's loop before the channel is active.
    func channel(
        of descriptor: CInt, on loop: any EventLoop,
        initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel>

    /// Whether nothing waits at a channel's open descriptor that its loop has not seen: no bytes and no end of file.
    func isQuiet(_ descriptor: CInt) -> Bool

    /// What the system knows of the bytes that were sent on an open descriptor; `nil` where it does not say.
    func acknowledgement(_ descriptor: CInt) -> Acknowledgement?
}

/// What the receiver's system reported about the bytes that were sent to it.
package struct Acknowledgement: Sendable, Hashable {
    /// The number of acknowledged bytes since the connection began, counted from any fixed number.
    package var bytes: Int64
    /// Whether it rejected the bytes because the connection was closed there. Then they cannot be read any more.
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
            // The socket stays open after the container's end of file, so that the system can be asked about its bytes.
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
    /// `TCP_CLOSE`: after its end of file the receiver sent RST for what was sent later. After an end of file alone the
    /// state is another one, and the receiver may continue to read.
    private static let closedState: UInt8 = 7
}
