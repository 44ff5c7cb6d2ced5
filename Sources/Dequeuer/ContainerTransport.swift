package import NIOCore
import NIOPosix

/// What lies beneath a connection into a container: a socket, or in a simulation none. Asked once per connection, never per byte.
package protocol ContainerTransport: Sendable {
    /// Makes an active channel of a connected descriptor, which the channel owns from now on. It reads only when asked to.
    ///
    /// - Parameter initialize: adds the handlers; to be called on the channel's loop before the channel is active.
    func channel(
        of descriptor: CInt, on loop: any EventLoop,
        initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel>
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
}
