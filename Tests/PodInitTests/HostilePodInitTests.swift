import Core
import Foundation
import Glibc
import PodInitClient
import PodInitProtocol
import Support
import Synchronization
import TestSupport
import Testing

/// How many conversations each task of the stress test has; `nil` where CORTEX_STRESS_CONVERSATIONS does not say.
private let stressConversations = ProcessInfo.processInfo.environment["CORTEX_STRESS_CONVERSATIONS"].flatMap { Int($0) }

@Suite(
    "A PodInit that a container has taken over", .serialized,
    .timeLimit(.minutes(stressConversations == nil ? 3 : 60)))
struct HostilePodInitTests {
    /// Calls the hostile pod, and an honest one beside it until the hostile call has ended: each honest call must take
    /// less than a second.
    private static func expectRefusal(
        _ codes: Set<PlatformError.Code>, _ serve: @escaping @Sendable (CInt) -> Void,
        within limit: Duration = .seconds(5),
        call: @escaping @Sendable (PodInitClient) async throws -> Void = { try await $0.ping(timeout: .seconds(2)) },
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let hostile = try StubPod(serve: serve)
        let honest = try StubPod(serve: StubPod.honest)
        defer {
            hostile.stop()
            honest.stop()
        }
        let clock = SystemClock()
        let start = clock.instant()
        let calls = Task { try await call(hostile.client) }
        let others = Task {
            var slowest = Duration.zero
            for _ in 0..<50 {
                let begin = clock.instant()
                try await honest.client.ping(timeout: .seconds(30))
                slowest = max(slowest, clock.instant() - begin)
                try await clock.sleep(for: .milliseconds(5))
            }
            return slowest
        }
        let error = await #expect(throws: PlatformError.self, sourceLocation: sourceLocation) { try await calls.value }
        #expect(clock.instant() - start < limit, sourceLocation: sourceLocation)
        let code = try #require(error?.code, sourceLocation: sourceLocation)
        #expect(codes.contains(code), "\(code)", sourceLocation: sourceLocation)
        #expect(try await others.value < .seconds(1), sourceLocation: sourceLocation)
    }

    @Test("N4: no answer, half a frame, and bytes one by one end at the caller's deadline")
    func silent() async throws {
        try await Self.expectRefusal([.timedOut]) { StubPod.waitForEnd($0) }
        try await Self.expectRefusal([.timedOut]) { connection in
            StubPod.send([0, 0, 0, 10, 65], to: connection)
            StubPod.waitForEnd(connection)
        }
        try await Self.expectRefusal([.timedOut]) { connection in
            StubPod.send([0, 15, 0, 0], to: connection)
            while StubPod.send([65], to: connection) { usleep(1000) }
        }
    }

    @Test("N4: frames beyond the limits of length and of fields, and garbage, end the call at once")
    func frames() async throws {
        // A stub that closes with a request unread resets the connection, which may come before what it sent.
        try await Self.expectRefusal([.internal, .connectionFailed], { StubPod.send([255, 255, 255, 255], to: $0) })
        try await Self.expectRefusal(
            [.internal, .connectionFailed],
            { connection in
                StubPod.send([0, 16, 0, 0] + [UInt8](repeating: 0, count: 1 << 20), to: connection)
                StubPod.waitForEnd(connection)
            })
        try await Self.expectRefusal([.internal, .connectionFailed], { StubPod.answer(["gibberish"], to: $0) })
        try await Self.expectRefusal([.connectionFailed], { _ in })
    }

    @Test("N4: a subscription that sends events without end takes nobody's time")
    func flood() async throws {
        let events = Mutex(0)
        let hostile = try StubPod { connection in
            StubPod.answer(["ok"], to: connection)
            let event = Array([[UInt8]](repeating: Frame.encode(["event", "x"]), count: 4096).joined())
            while StubPod.send(event, to: connection) {}
        }
        defer { hostile.stop() }
        let subscriptions = (0..<16).map { _ in
            hostile.client.subscribe(onEvent: { _ in events.withLock { $0 += 1 } }, onEnd: {})
        }
        for subscription in subscriptions { subscription.begin() }
        try await expectEventually { events.withLock { $0 } > 10_000 }
        try await Self.expectRefusal([.timedOut]) { StubPod.waitForEnd($0) }
        for subscription in subscriptions { subscription.cancel() }
    }

    @Test(
        "N4: descriptors that were not asked for end the call, and closing them, however long it lasts, delays nobody")
    func unwantedDescriptors() async throws {
        let before = Self.descriptors
        let sockets = try (0..<4).map { _ in try LingeringSocket() }
        let next = Mutex(0)
        let clock = SystemClock()
        let start = clock.instant()
        for _ in sockets {
            try await Self.expectRefusal([.connectionFailed]) { connection in
                let socket = sockets[
                    next.withLock { number in
                        defer { number += 1 }; return number
                    }]
                StubPod.answer(["ok", "1"], passing: socket.descriptor, to: connection)
                close(socket.descriptor)
                StubPod.waitForEnd(connection)
            }
        }
        // Still waiting to be closed, each on its pod's own thread.
        #expect(clock.instant() - start < .seconds(30))
        for socket in sockets { socket.release() }
        try await expectEventually { Self.descriptors <= before }
    }

    @Test("N4: descriptors that were sent and never read are not closed on the loop either")
    func unreadDescriptors() async throws {
        let before = Self.descriptors
        let sockets = try (0..<4).map { _ in try LingeringSocket() }
        let next = Mutex(0)
        for _ in sockets {
            try await Self.expectRefusal([.internal, .connectionFailed]) { connection in
                let socket = sockets[
                    next.withLock { number in
                        defer { number += 1 }; return number
                    }]
                // The first frame ends the conversation; what comes behind it stays in the socket's buffer.
                StubPod.send([255, 255, 255, 255], to: connection)
                StubPod.send([1], passing: socket.descriptor, to: connection)
                close(socket.descriptor)
            }
        }
        for socket in sockets { socket.release() }
        try await expectEventually { Self.descriptors <= before }
    }

    @Test("N4: a connection that is no TCP socket is refused, and so is a second descriptor")
    func wrongDescriptors() async throws {
        let before = Self.descriptors
        let connect: @Sendable (PodInitClient) async throws -> Void = { client in
            close(try await client.connect(port: 80, timeout: .seconds(2)))
        }
        let make: [@Sendable () -> CInt] = [
            { open("/dev/null", O_RDWR) }, { open("/", O_RDONLY | O_DIRECTORY) },
            { socket(AF_INET, CInt(SOCK_DGRAM.rawValue), 0) }, { socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0) },
        ]
        for make in make {
            try await Self.expectRefusal(
                [.connectionFailed],
                { connection in
                    let descriptor = make()
                    StubPod.answer(["ok"], passing: descriptor, to: connection)
                    close(descriptor)
                    StubPod.waitForEnd(connection)
                }, call: connect)
        }
        try await Self.expectRefusal(
            [.connectionFailed],
            { connection in
                let frame = Frame.encode(["ok"])
                for byte in frame {
                    let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
                    StubPod.send([byte], passing: descriptor, to: connection)
                    close(descriptor)
                }
                StubPod.waitForEnd(connection)
            }, call: connect)
        // An answer without a descriptor, and a refusal with one.
        try await Self.expectRefusal([.internal], { StubPod.answer(["ok"], to: $0) }, call: connect)
        try await Self.expectRefusal(
            [.notFound],
            { connection in
                let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
                StubPod.answer(["error", "not_found", "no"], passing: descriptor, to: connection)
                close(descriptor)
            }, call: connect)
        try await expectEventually { Self.descriptors <= before }
    }

    @Test("N4: a pod that accepts no connection, its backlog full, costs its own callers their time and nobody else")
    func fullBacklog() async throws {
        let deaf = try StubPod(backlog: 0, serve: nil)
        let honest = try StubPod(serve: StubPod.honest)
        defer {
            deaf.stop()
            honest.stop()
        }
        await withTaskGroup(of: PlatformError.Code?.self) { group in
            for _ in 0..<32 {
                group.addTask {
                    do {
                        try await deaf.client.ping(timeout: .seconds(1))
                        return nil
                    } catch {
                        return (error as? PlatformError)?.code
                    }
                }
            }
            for await code in group { #expect(code == .timedOut) }
        }
        try await honest.client.ping(timeout: .seconds(1))
        let cancelled = Task { try await deaf.client.ping(timeout: .seconds(600)) }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
    }

    /// 64 tasks beside 16 that subscribe and leave. CORTEX_STRESS_CONVERSATIONS sets how many each task has; the full
    /// run is 100,000.
    @Test("N4, U4: many tasks talk to a server that answers and closes at once, and every conversation ends")
    func stress() async throws {
        let count = stressConversations ?? 300
        let before = Self.descriptors
        let server = try StubPod(isInline: true, serve: StubPod.honest)
        defer { server.stop() }
        let clock = SystemClock()
        let start = clock.instant()
        let isOver = Flag()
        let slowest = try await withThrowingTaskGroup(of: Duration.self) { group in
            for _ in 0..<64 {
                group.addTask {
                    var slowest = Duration.zero
                    for _ in 0..<count {
                        let begin = clock.instant()
                        try await server.client.ping(timeout: .seconds(60))
                        slowest = max(slowest, clock.instant() - begin)
                    }
                    return slowest
                }
            }
            for _ in 0..<16 {
                group.addTask {
                    while !isOver.isSet {
                        await withCheckedContinuation { continuation in
                            let subscription = server.client.subscribe(
                                onEvent: { _ in }, onEnd: { continuation.resume() })
                            subscription.begin()
                            if Bool.random() { subscription.cancel() }
                        }
                    }
                    return .zero
                }
            }
            var slowest = Duration.zero
            for _ in 0..<64 { slowest = max(slowest, try await group.next() ?? .zero) }
            isOver.set()
            try await group.waitForAll()
            return slowest
        }
        #expect(slowest < .seconds(20))
        try await expectEventually { Self.descriptors <= before + 8 }
        if stressConversations != nil {
            let took = clock.instant() - start
            Attachment.record("\(64 * count) conversations in \(took), the slowest \(slowest)", named: "stress.txt")
        }
    }

    private static var descriptors: Int {
        (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? -1
    }
}

private final class Flag: Sendable {
    private let value = Mutex(false)
    var isSet: Bool { value.withLock { $0 } }
    func set() { value.withLock { $0 = true } }
}
