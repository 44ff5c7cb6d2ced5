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
    private let connection: HTTPConnection
    /// One for each listener.
    private let doors: [ServerCapacity.Door]
    private let group: any EventLoopGroup
    private let logger: Logger
    private let bound: BoundListeners
    /// Connections that want a task.
    private let turns: AsyncStream<ConnectionTurns.Turn>
    private let turnsQueue: AsyncStream<ConnectionTurns.Turn>.Continuation

    /// - Parameters:
    ///   - listeners: where to listen, in the order of ``addresses()``.
    ///   - capacity: what this server shares with the others of the process.
    ///   - isForCallers: whether its TCP listeners may have as many connections as there can be; others have a share.
    ///   - errors: where the handler's errors end.
    ///   - errorHeaders: what every error answer carries that is made before the handler sees the request.
    ///   - isHandlerOnLoop: whether the handler runs on the event loop of its connection, without changing threads: for
    ///     one that never blocks and computes little.
    package init(
        listeners: [HTTPListener], limits: HTTPServerLimits = HTTPServerLimits(),
        capacity: ServerCapacity = ServerCapacity(), isForCallers: Bool = true,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, clock: any PlatformClock, logger: Logger,
        errors: ErrorResponses, errorHeaders: HTTPHeaders = [:], isHandlerOnLoop: Bool = false,
        replying handler: @escaping HTTPReplyHandler
    ) {
        self.listeners = listeners
        (self.turns, self.turnsQueue) = AsyncStream.makeStream()
        self.connection = HTTPConnection(
            limits: limits, handler: handler, errors: errors, date: HTTPDate(clock: clock), isOnLoop: isHandlerOnLoop,
            turns: turnsQueue, capacity: capacity, errorHeaders: errorHeaders, times: IdleTimes(limits))
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

    /// Where it really listens: as given, with the port that the system chose in place of 0. Returns when all listeners
    /// accept connections.
    ///
    /// - Throws: what ``run()`` threw, where it ended before that.
    package func addresses() async throws -> [HTTPListener] {
        try await bound.wait()
    }

    /// - Throws: ``PlatformError`` `setup` where a listener cannot be had.
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
                turnsQueue.finish()
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
            for await turn in turns {
                group.addTask(executorPreference: turn.executor) { await turn.run() }
            }
        }
    }

    private func serve(_ listener: HTTPListener, index: Int) async throws {
        // The server announces every address by itself; the platform says it once, in its own words.
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
        var connection = connection
        connection.door = doors[index]
        let server = Server(
            childChannelSetup: connection,
            configuration: ServerConfiguration(
                address: address, backlog: 1024,
                availableConnectionsDelegate: MaximumAvailableConnections(connection.limits.connections, logger: quiet)),
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
