import Core
import HTTPServing
import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Support

/// A running server for the time of `body`, which gets its port; shut down gracefully afterwards.
@discardableResult
func withServer<Result: Sendable>(
    limits: HTTPServerLimits = HTTPServerLimits(lingerTime: .milliseconds(200)),
    listeners: [HTTPListener] = [.tcp(host: "127.0.0.1", port: 0)],
    capacity: ServerCapacity = ServerCapacity(),
    handler: @escaping HTTPHandler,
    _ body: @Sendable (_ port: Int, _ group: ServiceGroup) async throws -> Result
) async throws -> Result {
    try await withServer(
        limits: limits, listeners: listeners, capacity: capacity,
        replying: { request, requestBody in
            .response(try await handler(request, &requestBody))
        }, body)
}

/// The same with a handler that may answer later.
@discardableResult
func withServer<Result: Sendable>(
    limits: HTTPServerLimits = HTTPServerLimits(lingerTime: .milliseconds(200)),
    listeners: [HTTPListener] = [.tcp(host: "127.0.0.1", port: 0)],
    capacity: ServerCapacity = ServerCapacity(), isHandlerOnLoop: Bool = false,
    replying handler: @escaping HTTPReplyHandler,
    _ body: @Sendable (_ port: Int, _ group: ServiceGroup) async throws -> Result
) async throws -> Result {
    let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    let server = HTTPServer(
        listeners: listeners, limits: limits, capacity: capacity, clock: SystemClock(), logger: logger,
        errors: ErrorResponses(logger: logger), isHandlerOnLoop: isHandlerOnLoop, replying: handler)
    let services = ServiceGroup(configuration: .init(services: [server], logger: logger))
    return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await services.run() }
        let result: Result
        do {
            var port = 0
            for case .tcp(_, let bound) in try await server.addresses() { port = bound }
            result = try await body(port, services)
        } catch {
            await services.triggerGracefulShutdown()
            throw error
        }
        await services.triggerGracefulShutdown()
        try await group.waitForAll()
        return result
    }
}

/// Answers with what it got: method, path, query and body.
let echo: HTTPHandler = { request, body in
    let bytes = try await body.collect(upTo: 1 << 20)
    let text = "\(request.method.rawValue) \(request.path) \(request.query ?? "-") \(String(buffer: bytes))"
    return OutgoingResponse(status: .ok, body: .bytes(.init(string: text)))
}
