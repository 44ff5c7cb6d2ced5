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
    /// Makes an active channel of a connected descriptor, which the channel owns from now on. It reads only when asked to.
    ///
    /// - Parameter initialize: adds the handlers; to be called on the channel's loop before the channel is active.
    func channel(
        of descriptor: CInt, on loop: any EventLoop,
        initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel>

    /// Whether nothing waits at a channel's open descriptor that its loop has not seen yet, neither bytes nor their end.
    func isQuiet(_ descriptor: CInt) -> Bool
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
            .channelInitializer(initialize)
            .withConnectedSocket(descriptor)
    }

    package func isQuiet(_ descriptor: CInt) -> Bool {
        var byte: UInt8 = 0
        return recv(descriptor, &byte, 1, Self.peek) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)
    }

    private static let peek = Int32(MSG_PEEK)
}
