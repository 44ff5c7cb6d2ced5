import Core
import Foundation
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceLifecycle
import Support
import Synchronization
import TestSupport
import Testing

@testable import HTTPServing

@Suite("States of a connection")
struct ConnectionStateTests {
    // MARK: Reading

    /// Runs `step` before each job of the task, on the event loop: at each place where the task can be interrupted on
    /// its way to the wait.
    private final class SteppingExecutor: TaskExecutor, SerialExecutor {
        private let loop: any EventLoop
        private let count = Atomic(0)
        private let step: @Sendable (_ number: Int) -> Void

        init(_ loop: any EventLoop, step: @escaping @Sendable (Int) -> Void) {
            self.loop = loop
            self.step = step
        }

        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            loop.execute { [self] in
                step(count.add(1, ordering: .relaxed).oldValue)
                // As on an actor: every call of an asynchronous function then goes through the queue.
                job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
            }
        }
    }

    @Test(
        "N6: a fault that comes while the connection's task is on its way to wait for more reaches it",
        .timeLimit(.minutes(1)), arguments: 0..<4)
    func faultOnTheWay(_ moment: Int) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let responder = Responder(
            limits: HTTPServerLimits(), errors: ErrorResponses(logger: logger), date: HTTPDate(clock: SystemClock()),
            isHandlerOnLoop: true, errorHeaders: [:], exchanges: nil
        ) { _, _ in .response(OutgoingResponse(status: .ok)) }
        let (tasks, queue) = AsyncStream.makeStream(of: ConnectionHandle.self)
        let over = loop.makePromise(of: Void.self)
        let connection = try await loop.submit {
            NIOLoopBound(
                Connection(on: loop, responder: responder, tasks: queue, capacity: ServerCapacity(), over: over),
                eventLoop: loop)
        }.get()
        let executor = SteppingExecutor(loop) { number in
            if number == moment { connection.value.refuse(ServerCapacity.bodiesFault) }
        }
        // Where the way has fewer steps, the fault comes while it waits.
        let late = loop.scheduleTask(in: .milliseconds(200)) { connection.value.refuse(ServerCapacity.bodiesFault) }
        let fault = await withTaskExecutorPreference(executor) {
            await #expect(throws: HTTPFault.self) { _ = try await connection.value.next() }
        }
        #expect(fault?.status == ServerCapacity.bodiesFault.status)
        try await late.futureResult.get()
        over.succeed()
        withExtendedLifetime(tasks) {}
    }

    // MARK: Parked

    /// A reply that returns another wait some times, and then what it is made with. Ready at once.
    private final class Wait: PendingReply {
        private let rest: Mutex<Int>
        private let last: @Sendable () throws -> HTTPReply

        init(_ times: Int, then last: @escaping @Sendable () throws -> HTTPReply) {
            self.rest = Mutex(times)
            self.last = last
        }

        func whenReady(_ action: @escaping @Sendable () -> Void) { action() }

        nonisolated(nonsending) func reply() async throws -> HTTPReply {
            let isOver = rest.withLock { rest in
                rest -= 1
                return rest < 0
            }
            return isOver ? try last() : .pending(self)
        }
    }

    @Test(
        "A5: a parked connection resumes until its reply is there, then takes the next request",
        arguments: [true, false])
    func parked(isHandlerOnLoop: Bool) async throws {
        let handler: HTTPReplyHandler = { request, _ in
            let wait = Wait(request.path == "/once" ? 0 : 3) {
                if request.path == "/fails" { throw PlatformError(.notFound, "there is nothing") }
                return .response(OutgoingResponse(status: .ok, body: .bytes(ByteBuffer(string: request.path))))
            }
            return .pending(wait, headers: ["X-Late": "1"])
        }
        try await withServer(isHandlerOnLoop: isHandlerOnLoop, replying: handler) { port, _ in
            try await RawConnection.open(port: port) { connection in
                let paths = ["/once", "/often", "/fails", "/once"]
                try await connection.send(paths.map { "GET \($0) HTTP/1.1\r\nHost: h\r\n\r\n" }.joined())
                for path in paths {
                    let answer = try await connection.readResponse()
                    #expect(answer.status == (path == "/fails" ? 404 : 200))
                    if path != "/fails" { #expect(answer.body == path) }
                    #expect(answer.headers["x-late"] == "1")
                }
            }
        }
    }

    // MARK: Closed

    private final class Counter: Sendable {
        let value = Mutex(0)
    }

    @Test("A5: a caller that has closed its sending side and reads later gets all of its answer")
    func slowReader() async throws {
        // The socket takes some of each answer, and another part of it waits for the caller.
        let sizes = Array(stride(from: 100_000, to: 1_300_000, by: 30_000))
        let answered = Counter()
        let handler: HTTPHandler = { request, _ in
            defer { answered.value.withLock { $0 += 1 } }
            let size = Int(request.path.dropFirst()) ?? 0
            return OutgoingResponse(status: .ok, body: .bytes(ByteBuffer(repeating: 0x61, count: size)))
        }
        try await withTemporaryDirectory { folder in
            let socket = folder.appendingPathComponent("s").path
            try await withServer(listeners: [.unix(path: socket)], handler: handler) { _, _ in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for size in sizes {
                        group.addTask {
                            try await RawConnection.open(socket: socket) { connection in
                                try await connection.send("GET /\(size) HTTP/1.1\r\nHost: h\r\n\r\n")
                                connection.finish()
                                #expect(try await eventually { answered.value.withLock { $0 } == sizes.count })
                                let answer = try await connection.readToEnd()
                                #expect(answer.utf8.count { $0 == 0x61 } >= size, "\(size)")
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    // MARK: Handed over

    /// Sends back what arrives.
    private final class Echo: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            context.write(wrapOutboundOut(unwrapInboundIn(data)), promise: nil)
        }

        func channelReadComplete(context: ChannelHandlerContext) { context.flush() }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case ChannelEvent.inputClosed = event { context.close(promise: nil) }
            guard event is ChannelShouldQuiesceEvent else { return }
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "bye")), promise: nil)
            context.close(promise: nil)
        }
    }

    private static let upgrade: HTTPReplyHandler = { request, body in
        let reply = HTTPReply.handOver(
            OutgoingResponse(
                status: .switchingProtocols, headers: ["Upgrade": "echo", "Connection": "upgrade"])
        ) { try $0.pipeline.syncOperations.addHandler(Echo()) }
        if request.path == "/plain" { return .response(OutgoingResponse(status: .ok)) }
        if request.path == "/parked" { return .pending(Wait(2) { reply }, headers: ["X-Late": "1"]) }
        return reply
    }

    private func offer(_ path: String = "/", _ fields: String = "Connection: Upgrade\r\nUpgrade: echo\r\n") -> String {
        "GET \(path) HTTP/1.1\r\nHost: h\r\n\(fields)\r\n"
    }

    @Test(
        "R: an upgraded connection belongs to the handler, with the bytes that came behind the request",
        arguments: ["/", "/parked"], [true, false])
    func handedOver(_ path: String, isHandlerOnLoop: Bool) async throws {
        let capacity = ServerCapacity()
        // An upgraded connection may be silent.
        let limits = HTTPServerLimits(idleTime: .milliseconds(100), lingerTime: .milliseconds(100))
        try await withServer(
            limits: limits, capacity: capacity, isHandlerOnLoop: isHandlerOnLoop, replying: Self.upgrade
        ) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(offer(path) + "first ")
                let answer = try await connection.readResponse(hasBody: false)
                #expect(answer.status == 101 && answer.headers["upgrade"] == "echo")
                #expect(answer.headers["connection"] == "upgrade")
                #expect(answer.headers["x-late"] == (path == "/parked" ? "1" : nil))
                #expect(try await connection.read(through: "first ") == "first ")
                // Meanwhile another connection is closed for its silence.
                try await RawConnection.open(port: port) { other in
                    try await other.send("GET /plain HTTP/1.1\r\nHost: h\r\n\r\n")
                    #expect(try await other.readToEnd().hasPrefix("HTTP/1.1 200 "))
                }
                #expect(try await eventually { capacity.connections == 1 })
                // No HTTP any more.
                let large = String(repeating: "x", count: 300_000) + "."
                try await connection.send("GET / HTTP/1.1\r\n\r\n" + large)
                #expect(try await connection.read(through: ".") == "GET / HTTP/1.")
                #expect(try await connection.read(through: "x.").utf8.count == 5 + 300_001)
                connection.finish()
                #expect(try await connection.readToEnd() == "")
            }
        }
        #expect(capacity.connections == 0 && capacity.bodyBytes == 0)
    }

    @Test("U4: at shutdown the handler of an upgraded connection closes it")
    func handedOverShutdown() async throws {
        try await withServer(isHandlerOnLoop: true, replying: Self.upgrade) { port, services in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(offer())
                #expect(try await connection.readResponse(hasBody: false).status == 101)
                await services.triggerGracefulShutdown()
                #expect(try await connection.readToEnd() == "bye")
            }
        }
    }

    @Test(
        "R: a request that offers no upgrade cannot be upgraded",
        arguments: ["", "Upgrade: echo\r\n", "Connection: Upgrade\r\n"])
    func noOffer(_ fields: String) async throws {
        try await withServer(isHandlerOnLoop: true, replying: Self.upgrade) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(offer("/", fields))
                let answer = try await connection.readToEnd()
                #expect(answer.hasPrefix("HTTP/1.1 500 ") && answer.contains("Connection: close"), "\(answer)")
            }
        }
    }

    @Test(
        "N6: a caller that sends much before its upgrade is answered is cut off, and so is one that has finished",
        arguments: [true, false])
    func tooEarly(isFinished: Bool) async throws {
        let (go, release) = AsyncStream.makeStream(of: Void.self)
        let handler: HTTPReplyHandler = { request, body in
            for await _ in go { break }
            return try await Self.upgrade(request, &body)
        }
        let capacity = ServerCapacity()
        try await withServer(capacity: capacity, replying: handler) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(offer())
                #expect(try await eventually { capacity.connections == 1 })
                if isFinished {
                    connection.finish()
                } else {
                    // More than the sockets hold: most of it was taken when this returns.
                    try await connection.send(String(repeating: "x", count: 32 << 20))
                }
                release.yield()
                let answer = try? await connection.readToEnd()
                #expect(answer?.contains("x") != true)
                if !isFinished { #expect(answer?.contains("101") != true) }
            }
            #expect(try await eventually { capacity.connections == 0 })
        }
    }
}
