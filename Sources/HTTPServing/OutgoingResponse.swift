import Core
package import NIOCore
package import NIOHTTP1
import Synchronization

/// An answer. `Content-Length`, `Transfer-Encoding`, `Connection` and `Date` are added when it is sent.
package struct OutgoingResponse: Sendable {
    /// What follows the head.
    package enum Body: Sendable {
        case empty
        case bytes(ByteBuffer)
        /// Written as it is made. With a `length`, exactly that many bytes must come.
        case stream(length: Int64?, write: @Sendable (OutgoingBody) async throws -> Void)
    }

    package var status: HTTPResponseStatus
    package var headers: HTTPHeaders
    package var body: Body

    package init(status: HTTPResponseStatus, headers: HTTPHeaders = [:], body: Body = .empty) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// A JSON document that is ready.
    package static func json(
        _ document: ByteBuffer, status: HTTPResponseStatus = .ok, headers: HTTPHeaders = [:]
    ) -> OutgoingResponse {
        var headers = headers
        headers.add(name: "Content-Type", value: "application/json")
        return OutgoingResponse(status: status, headers: headers, body: .bytes(document))
    }

    /// A JSON document that is ready.
    package static func json(
        _ document: some Collection<UInt8>, status: HTTPResponseStatus = .ok, headers: HTTPHeaders = [:]
    ) -> OutgoingResponse {
        json(ByteBuffer(bytes: document), status: status, headers: headers)
    }
}

/// What a handler returns.
package enum HTTPReply: Sendable {
    /// The answer.
    case response(OutgoingResponse)
    /// The answer is not ready. It gets `headers` too, and so does an error in its place.
    case pending(any PendingReply, headers: HTTPHeaders = [:])
    /// Sends the head of `response`, as a rule 101, and gives the channel to the taker. Only for a request that offers
    /// an upgrade, whose caller has not closed its sending side; while the server shuts down the answer is 503 instead.
    case handOver(OutgoingResponse, to: ConnectionTaker)
    /// An exchange answers the request. Only before any of its body was read.
    case exchange(ExchangeMatch)

    var isResponse: Bool {
        if case .response = self { true } else { false }
    }

    /// Adds headers to the answer, now or when it is ready.
    package mutating func add(_ headers: HTTPHeaders) {
        switch self {
        case .response(var response):
            response.headers.add(contentsOf: headers)
            self = .response(response)
        case .pending(let reply, headers: var all):
            all.add(contentsOf: headers)
            self = .pending(reply, headers: all)
        case .handOver(var response, to: let taker):
            response.headers.add(contentsOf: headers)
            self = .handOver(response, to: taker)
        case .exchange:
            break
        }
    }
}

/// An answer that is not ready. While it waits, its connection is parked: it has no task and keeps only this object.
package protocol PendingReply: AnyObject, Sendable {
    /// Calls `action` once, from any thread, as soon as the reply can be asked for. It must also be called when the
    /// caller leaves.
    func whenReady(_ action: @escaping @Sendable () -> Void)

    /// The answer, or another wait. An error it throws becomes the answer (``ErrorResponses``).
    nonisolated(nonsending) func reply() async throws -> HTTPReply
}

/// Takes a connection over after an upgrade: adds its handlers at the end of the channel's pipeline. Called on the
/// event loop after the answer is written. From then on the channel carries bytes (`ByteBuffer`), beginning with those
/// that arrived behind the request; no time limit applies; the taker closes the channel, also on
/// `ChannelShouldQuiesceEvent`.
package typealias ConnectionTaker = @Sendable (_ channel: any Channel) throws -> Void

/// Answers requests. An error it throws becomes the answer (``ErrorResponses``).
package typealias HTTPHandler =
    nonisolated(nonsending) @Sendable (_ request: IncomingRequest, _ body: inout IncomingBody) async throws ->
    OutgoingResponse

/// Answers requests, at once or later. An error it throws becomes the answer (``ErrorResponses``).
package typealias HTTPReplyHandler =
    nonisolated(nonsending) @Sendable (_ request: IncomingRequest, _ body: inout IncomingBody) async throws ->
    HTTPReply

/// Writes the body of a streamed answer; for one task at a time.
package struct OutgoingBody: Sendable {
    let connection: ConnectionHandle
    private let trailers = Trailers()

    init(connection: ConnectionHandle) { self.connection = connection }

    /// The fields behind the body. They are sent only behind a body without a length, to a caller of HTTP/1.1.
    package func setTrailers(_ fields: HTTPHeaders) { trailers.fields.withLock { $0 = fields } }

    var trailerFields: HTTPHeaders? { trailers.fields.withLock { $0 } }

    private final class Trailers: Sendable {
        let fields = Mutex<HTTPHeaders?>(nil)
    }

    /// Sends bytes; returns when the caller can take more.
    ///
    /// - Throws: when the connection is closed.
    package func write(_ bytes: ByteBuffer) async throws {
        guard bytes.readableBytes > 0 else { return }
        try await connection.write([.body(.byteBuffer(bytes))])
    }

    package func write(_ bytes: some Collection<UInt8> & Sendable) async throws {
        try await write(ByteBuffer(bytes: bytes))
    }

    /// Closes the connection at once: for a caller that reads nothing more. A write that waits for the caller fails.
    /// Safe from any task.
    package func close() {
        connection.abort()
    }
}

/// The `Date` header, made once a second.
final class HTTPDate: Sendable {
    private let clock: any PlatformClock
    private let cached = Mutex((second: Int64.min, text: ""))

    init(clock: any PlatformClock) {
        self.clock = clock
    }

    var now: String {
        let time = clock.now()
        return cached.withLock {
            if $0.second != time.seconds { $0 = (time.seconds, Self.text(time)) }
            return $0.text
        }
    }

    /// IMF-fixdate (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    static func text(_ time: Timestamp) -> String {
        let civil = CivilTime(time)
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        return "\(days[civil.weekday]), \(two(civil.day)) \(months[civil.month - 1]) \(civil.year) "
            + "\(two(civil.hour)):\(two(civil.minute)):\(two(civil.second)) GMT"
    }
}
