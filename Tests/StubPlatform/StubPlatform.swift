package import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// An HTTP server on a free port of this machine that answers what a test says and remembers what it was asked.
package final class StubPlatform: Sendable {
    /// A request as it came.
    package struct Request: Sendable {
        package var method: String
        /// Path and query, as on the wire.
        package var target: String
        package var headers: [(name: String, value: String)]
        package var body: ByteBuffer

        /// The first value of a header.
        package subscript(header name: String) -> String? {
            headers.first { $0.name.lowercased() == name.lowercased() }?.value
        }

        package var path: String { String(target.prefix { $0 != "?" }) }
        package var text: String { String(buffer: body) }
    }

    package struct Response: Sendable {
        package var status: Int
        package var contentType: String?
        /// Written and flushed one by one.
        package var parts: [String]
        /// Whether the answer is left open after its parts. ``StubPlatform/write(_:to:)`` continues it.
        package var staysOpen: Bool
        /// Whether it is sent when the head of the request has arrived, without its body.
        package var isEarly: Bool
        /// Whether the connection is closed without any answer.
        package var isCutOff: Bool
        package var headers: [(name: String, value: String)]

        package init(
            status: Int = 200, contentType: String? = "application/json", parts: [String], staysOpen: Bool = false,
            isEarly: Bool = false, isCutOff: Bool = false, headers: [(name: String, value: String)] = []
        ) {
            self.status = status
            self.contentType = contentType
            self.parts = parts
            self.staysOpen = staysOpen
            self.isEarly = isEarly
            self.isCutOff = isCutOff
            self.headers = headers
        }

        package static func json(_ text: String, status: Int = 200) -> Response {
            Response(status: status, parts: [text])
        }

        package static func error(_ status: Int, _ kind: String, _ message: String) -> Response {
            .json(#"{"error":{"kind":"\#(kind)","message":"\#(message)"}}"#, status: status)
        }

        package static let cutOff = Response(parts: [], isCutOff: true)
    }

    private struct State {
        var requests: [Request] = []
        var routes: [String: [Response]] = [:]
        /// The connection of the last request of each route.
        var channels: [String: any Channel] = [:]
        /// What has arrived of the body of the last request of each route.
        var received: [String: ByteBuffer] = [:]
    }

    private let state = Mutex(State())
    private let channel: Mutex<(any Channel)?> = Mutex(nil)

    private init() {}

    /// Runs `body` with a server and closes it afterwards.
    package static func with<Result>(
        _ body: (StubPlatform) async throws -> Result
    ) async throws -> Result {
        let stub = StubPlatform()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 64)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Handler(stub: stub))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        stub.channel.withLock { $0 = channel }
        do {
            let result = try await body(stub)
            try await channel.close()
            return result
        } catch {
            try? await channel.close()
            throw error
        }
    }

    package var url: String { "http://127.0.0.1:\(channel.withLock { $0?.localAddress?.port ?? 0 })" }

    /// Answers `GET /get` and the like; of several answers each is given once, the last for ever.
    package func on(_ route: String, _ responses: Response...) {
        state.withLock { $0.routes[route] = responses }
    }

    package var requests: [Request] { state.withLock { $0.requests } }

    /// The last request of a route.
    package func last(_ route: String) -> Request? {
        requests.last { "\($0.method) \($0.path)" == route }
    }

    package func count(_ route: String) -> Int {
        requests.count { "\($0.method) \($0.path)" == route }
    }

    /// Continues the answer to the last request of a route, which was left open; `nil` ends it.
    package func write(_ text: String?, to route: String) async throws {
        guard let channel = state.withLock({ $0.channels[route] }) else { return }
        let part = text.map { HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: $0))) } ?? .end(nil)
        try await channel.writeAndFlush(part)
    }

    /// Closes the connection of the last request of a route.
    package func cut(_ route: String) async throws {
        try await state.withLock { $0.channels[route] }?.close()
    }

    /// Whether the connection of the last request of a route is open. `false` if there was none.
    package func isOpen(_ route: String) -> Bool {
        state.withLock { $0.channels[route]?.isActive } ?? false
    }

    /// What has arrived of the body of the last request of a route, also before its end.
    package func received(_ route: String) -> String {
        state.withLock { $0.received[route].map { String(buffer: $0) } ?? "" }
    }

    fileprivate func note(_ body: ByteBuffer, of head: HTTPRequestHead) {
        state.withLock { $0.received["\(head.method) \(head.uri.prefix { $0 != "?" })"] = body }
    }

    fileprivate func isEarly(_ head: HTTPRequestHead) -> Bool {
        let path = head.uri.prefix { $0 != "?" }
        return state.withLock { $0.routes["\(head.method) \(path)"]?.first?.isEarly } ?? false
    }

    fileprivate func answer(_ request: Request, on channel: any Channel) -> Response {
        state.withLock { state in
            state.requests.append(request)
            let route = "\(request.method) \(request.path)"
            state.channels[route] = channel
            guard let responses = state.routes[route], let first = responses.first else {
                return .error(404, "not_found", "no route \(route)")
            }
            if responses.count > 1 { state.routes[route]?.removeFirst() }
            return first
        }
    }
}

private final class Handler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let stub: StubPlatform
    private var head: HTTPRequestHead?
    private var isAnswered = false
    private var body = ByteBuffer()

    init(stub: StubPlatform) {
        self.stub = stub
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            isAnswered = false
            body = ByteBuffer()
            if stub.isEarly(head) { answer(context: context) }
        case .body(var part):
            body.writeBuffer(&part)
            if let head { stub.note(body, of: head) }
        case .end:
            answer(context: context)
        }
    }

    /// Answers the request whose head has arrived, unless it was answered before.
    private func answer(context: ChannelHandlerContext) {
        guard let head, !isAnswered else { return }
        isAnswered = true
        let request = StubPlatform.Request(
            method: head.method.rawValue, target: head.uri, headers: head.headers.map { ($0.name, $0.value) },
            body: body)
        write(stub.answer(request, on: context.channel), context: context)
    }

    private func write(_ response: StubPlatform.Response, context: ChannelHandlerContext) {
        guard !response.isCutOff else { return context.close(promise: nil) }
        var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: response.status))
        if let type = response.contentType { head.headers.add(name: "Content-Type", value: type) }
        for (name, value) in response.headers { head.headers.add(name: name, value: value) }
        let hasLength = response.headers.contains { $0.name.lowercased() == "content-length" }
        if !response.staysOpen, response.parts.count <= 1, !hasLength {
            head.headers.add(name: "Content-Length", value: "\(response.parts.joined().utf8.count)")
        }
        context.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
        for part in response.parts {
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: part)))), promise: nil)
        }
        if !response.staysOpen { context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil) }
    }
}
