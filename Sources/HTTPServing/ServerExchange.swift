import Core
package import NIOCore
package import NIOHTTP1
import Support

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The exchange of one request and its response. It gets the parts of the request as they arrive, and sends the
/// response through its ``ExchangeCaller`` (not before the first of these calls), until it has called one of
/// ``ExchangeCaller/finish(keepAlive:)``, ``ExchangeCaller/abort()`` and ``ExchangeCaller/handOver(to:)``. All
/// functions are called on the connection's event loop.
package protocol ServerExchange: AnyObject {
    /// A piece of the request's body.
    func received(_ bytes: ByteBuffer)

    /// The request is complete.
    func receivedEnd(_ trailers: HTTPHeaders?)

    /// A read from the caller's socket is over: what was received may be sent on.
    func readEnded()

    /// The rest of the request cannot be read: it is malformed, too slow, or there is no memory for it. Nothing more is
    /// received.
    func requestFailed(_ fault: HTTPFault)

    /// The caller closed the connection, or its sending side. Not called after the exchange is over.
    func callerGone()

    /// ``ExchangeCaller/isWritable`` changed.
    func writabilityChanged()
}

/// The caller's side of an exchange: one object for each connection, valid for the present exchange. Used on its event
/// loop only.
package final class ExchangeCaller {
    private let connection: Connection
    private var writer = HTTPMessageWriter()
    package let channel: any Channel
    /// What the caller's address says.
    package let peer: CallerPeer

    init(_ connection: Connection, channel: any Channel, peer: CallerPeer) {
        self.connection = connection
        self.channel = channel
        self.peer = peer
    }

    package var eventLoop: any EventLoop { channel.eventLoop }

    /// Whether the caller takes more of the response now.
    package var isWritable: Bool { channel.isWritable }

    /// Whether the server is shutting down, so that no other request can follow on this connection.
    package var isLeaving: Bool { connection.caller.isLeaving }

    /// Whether the caller must be gone, without having said so. To be asked every 10 s.
    package var hasVanished: Bool { channel.hasVanished }

    /// The value of a `Date` field now.
    package var date: String { connection.responder.date.now }

    /// Whether the caller offers an upgrade, so that no other request can follow on this connection.
    package var isParsingOver: Bool { connection.isParsingOver }

    /// Writes the head of the response, or of an interim one. What is written is sent by ``flush()``.
    package func write(_ head: HTTPResponseHead) { connection.guardian?.write(writer.head(head)) }

    /// Writes a piece of the body.
    package func write(_ bytes: ByteBuffer) { writer.body(bytes) { connection.guardian?.write($0) } }

    package func writeEnd(_ trailers: HTTPHeaders? = nil) {
        if let end = writer.end(trailers) { connection.guardian?.write(end) }
    }

    /// Sends what was written.
    package func flush() { connection.guardian?.flush() }

    /// Declares that the response has begun: from now on the caller may be as slow as it likes.
    package func responseBegan() { connection.guardian?.responseBegan() }

    /// Nothing more is read from the caller, until ``resumeReading()``; a few parts may still come.
    package func holdReading() { connection.holdExchange() }

    package func resumeReading() { connection.resumeExchange() }

    /// Declares that all of the response was written. It is sent.
    ///
    /// - Parameter keepAlive: whether another request may follow; the response's head has said so.
    package func finish(keepAlive: Bool) { connection.finishExchange(keepAlive: keepAlive) }

    /// Closes the connection at once. A response that is not complete looks so to its caller.
    ///
    /// - Parameter reset: whether only a reset shows that: the end of the response is the end of the connection.
    package func abort(reset: Bool = false) {
        // On the event loop the option is set at once. Where it cannot be set the connection is closed all the same.
        if reset { _ = (channel as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)) }
        connection.close()
    }

    /// Gives the channel to `taker`, behind a head of status 101 that was written and flushed.
    ///
    /// - Throws: ``CallerGone`` where it cannot be given away: the connection must then be aborted.
    package func handOver(to taker: ConnectionTaker) throws { try connection.handOver(to: taker) }
}

/// What is known about the other end of a connection.
package struct CallerPeer: Sendable {
    /// The IP address as text; `nil` for a unix socket, where pods are.
    package let address: String?
    /// Whether it is a version 6 address.
    package let isVersion6: Bool
    /// Whether its forwarding fields are believed (contract R3): a trusted proxy, this machine, or a pod.
    package let isTrusted: Bool
}
