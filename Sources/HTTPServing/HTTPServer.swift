package import Core
import HummingbirdCore
package import Logging
package import NIOCore
package import NIOHTTP1
import NIOPosix
import ServiceLifecycle
import Support

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Serves one handler on any number of listeners, until graceful shutdown; then requests that have arrived are answered
/// and everything else is closed.
package struct HTTPServer: Service {
    private let listeners: [HTTPListener]
    private let connections: ConnectionSetup
    /// One for each listener.
    private let doors: [ServerCapacity.Door]
    private let group: any EventLoopGroup
    private let logger: Logger
    private let bound: BoundListeners
    /// Connections that need a task.
    private let tasks: AsyncStream<ConnectionHandle>

    /// - Parameters:
    ///   - listeners: where to listen, in the order of ``addresses()``.
    ///   - capacity: the limits that this server shares with the others of the process.
    ///   - isForCallers: whether its TCP listeners may have all connections of the process; others have a share.
    ///   - errors: turns the handler's errors into answers.
    ///   - errorHeaders: added to every error answer that is made before the handler sees the request.
    ///   - isHandlerOnLoop: whether the handler runs on the event loop of its connection, without changing threads: for
    ///     one that never blocks and computes little.
    ///   - exchanges: finds the handler of a request that an exchange answers, without waiting.
    package init(
        listeners: [HTTPListener], limits: HTTPServerLimits = HTTPServerLimits(),
        capacity: ServerCapacity = ServerCapacity(), isForCallers: Bool = true,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, clock: any PlatformClock, logger: Logger,
        errors: ErrorResponses, errorHeaders: HTTPHeaders = [:], isHandlerOnLoop: Bool = false,
        exchanges: ExchangeLookup? = nil, replying handler: @escaping HTTPReplyHandler
    ) {
        self.listeners = listeners
        let (tasks, queue) = AsyncStream.makeStream(of: ConnectionHandle.self)
        self.tasks = tasks
        self.connections = ConnectionSetup(
            limits: limits, times: IdleTimes(limits), capacity: capacity, tasks: queue,
            responder: Responder(
                limits: limits, errors: errors, date: HTTPDate(clock: clock), isHandlerOnLoop: isHandlerOnLoop,
                errorHeaders: errorHeaders, exchanges: exchanges, handler: handler))
        self.doors = listeners.map { listener in
            if case .tcp = listener, isForCallers { return capacity.addDoor(share: .all) }
            return capacity.addDoor(share: .quarter)
        }
        self.group = group
        self.logger = logger
        self.bound = BoundListeners(count: listeners.count)
    }

    /// A server whose handler has every answer at once.
    package init(
        listeners: [HTTPListener], limits: HTTPServerLimits = HTTPServerLimits(),
        capacity: ServerCapacity = ServerCapacity(), isForCallers: Bool = true,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, clock: any PlatformClock, logger: Logger,
        errors: ErrorResponses, handler: @escaping HTTPHandler
    ) {
        self.init(
            listeners: listeners, limits: limits, capacity: capacity, isForCallers: isForCallers, group: group,
            clock: clock, logger: logger, errors: errors
        ) { request, body in
            .response(try await handler(request, &body))
        }
    }

    /// The addresses of the listeners, with the port that the system chose in place of 0. Returns when all listeners
    /// accept connections.
    ///
    /// - Throws: the error of ``run()``, where it ended before that.
    package func addresses() async throws -> [HTTPListener] {
        try await bound.wait()
    }

    /// - Throws: ``PlatformError`` `setup` where the server cannot listen.
    package func run() async throws {
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await serveRequests() }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (index, listener) in listeners.enumerated() {
                        group.addTask { try await serve(listener, index: index) }
                    }
                    // The first listener that fails ends the others (contract U5).
                    for try await _ in group {}
                }
                // Every connection is closed.
                connections.tasks.finish()
                try await group.waitForAll()
            }
        } catch {
            bound.fail(error)
            throw error
        }
        bound.fail(CancellationError())
    }

    /// Gives connections their tasks.
    private func serveRequests() async {
        await withDiscardingTaskGroup { group in
            for await connection in tasks {
                group.addTask(executorPreference: connection.executor) { await connection.run() }
            }
        }
    }

    private func serve(_ listener: HTTPListener, index: Int) async throws {
        // The server logs every address; the platform announces them itself.
        var quiet = logger
        quiet.logLevel = max(.warning, logger.logLevel)
        let socket: UnixSocketPath?
        let address: BindAddress
        switch listener {
        case .tcp(let host, let port):
            socket = nil
            address = .hostname(try await HostLookup.address(of: host), port: port)
        case .unix(let path):
            let path = try UnixSocketPath(path)
            socket = path
            address = .unixDomainSocket(path: path.bindable)
        }
        var connections = connections
        connections.door = doors[index]
        let server = Server(
            childChannelSetup: connections,
            configuration: ServerConfiguration(
                address: address, backlog: 1024,
                availableConnectionsDelegate: MaximumAvailableConnections(connections.limits.connections, logger: quiet)
            ),
            onServerRunning: { channel in
                bound.set(index, to: Self.address(of: listener, port: channel.localAddress?.port))
            },
            eventLoopGroup: group, logger: quiet)
        defer { withExtendedLifetime(socket) {} }
        do {
            try await server.run()
        } catch let error as IOError {
            throw Self.setupError(listener, error)
        } catch let error where !(error is CancellationError || error is PlatformError) {
            throw PlatformError(.setup, "cannot listen on \(listener)", cause: error)
        }
    }

    private static func address(of listener: HTTPListener, port: Int?) -> HTTPListener {
        switch listener {
        case .tcp(let host, let asked): .tcp(host: host, port: port ?? asked)
        case .unix: listener
        }
    }

    private static func setupError(_ listener: HTTPListener, _ error: IOError) -> PlatformError {
        let message =
            error.errnoCode == EADDRINUSE
            ? "\(listener) is taken by another program. Stop that one, or choose another port"
            : "cannot listen on \(listener): \(HostLookup.reason(ofBind: error.errnoCode))"
        return PlatformError(.setup, message, cause: error)
    }
}

/// Builds the pipeline of each accepted connection.
private struct ConnectionSetup: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        let channel: any Channel
        /// Succeeds when the connection is closed and no task of it is left.
        let whenOver: EventLoopFuture<Void>
    }

    let limits: HTTPServerLimits
    let times: IdleTimes
    let capacity: ServerCapacity
    /// Where connections ask for a task.
    let tasks: AsyncStream<ConnectionHandle>.Continuation
    let responder: Responder
    /// The listener of these connections.
    var door = ServerCapacity.Door(index: 0)

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            guard let place = capacity.enter(door, channel: channel) else {
                try channel.pipeline.syncOperations.addHandler(ConnectionRefusal(capacity: capacity))
                return Value(channel: channel, whenOver: channel.closeFuture)
            }
            var decoding = NIOHTTPDecoderLimitConfiguration()
            decoding.maxHeaderFieldSize = limits.headerBytes
            decoding.maxHeaderListSize = limits.headerBytes
            decoding.maxHeaderFieldCount = limits.headerFields
            var encoding = HTTPResponseEncoder.Configuration()
            encoding.automaticallySetFramingHeaders = false
            // Most requests are small, and a connection keeps the buffer of its last read; the buffer grows with what
            // is read.
            try channel.syncOptions?.setOption(
                .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 512, maximum: 65_536))
            let over = channel.eventLoop.makePromise(of: Void.self)
            let connection = Connection(
                on: channel.eventLoop, responder: responder, tasks: tasks, capacity: capacity, over: over)
            let guardian = ConnectionGuard(times: times, connection: connection, place: place)
            connection.guardian = guardian
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(guardian)
            try pipeline.addHandler(HTTPResponseEncoder(configuration: encoding))
            // Bytes behind an upgrade request are forwarded only when the decoder is removed for the hand-over.
            try pipeline.addHandler(
                ByteToMessageHandler(
                    HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: decoding)))
            try pipeline.addHandler(connection)
            return Value(channel: channel, whenOver: over.futureResult)
        }
    }

    func handle(value: Value, logger: Logger) async {
        let channel = value.channel
        await withTaskCancellationHandler {
            // The connection counts until then. The future never fails.
            try? await value.whenOver.get()
        } onCancel: {
            channel.close(promise: nil)
        }
    }
}
