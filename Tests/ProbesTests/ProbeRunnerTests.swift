import Core
import Foundation
import NIOCore
import NIOPosix
import Probes
import Support
import Synchronization
import TestSupport
import Testing

/// Connects to a real port of this machine.
private struct LoopbackConnector: Connector {
    var calls = Counter()

    func connect(port: Int) async throws -> CInt {
        calls.increment()
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Foundation.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            close(descriptor)
            throw PlatformError(.connectionFailed, "nothing listens")
        }
        return descriptor
    }
}

private final class SilentConnector: Connector {
    private let calls = Mutex<[CheckedContinuation<Void, Never>]>([])

    func connect(port: Int) async throws -> CInt {
        // Ignores cancellation, as a stuck engine does.
        await withCheckedContinuation { call in calls.withLock { $0.append(call) } }
        throw PlatformError(.connectionFailed, "never")
    }

    /// Ends the calls, after what is tested.
    func end() {
        for call in calls.withLock({ $0 }) { call.resume() }
    }
}

private final class Counter: Sendable {
    private let value = Mutex(0)
    func increment() { value.withLock { $0 += 1 } }
    var count: Int { value.withLock { $0 } }
}

private final class Journal<Element: Sendable>: Sendable {
    private let state = Mutex<[Element]>([])
    func append(_ element: Element) { state.withLock { $0.append(element) } }
    var all: [Element] { state.withLock { $0 } }
}

/// Answers every connection with fixed bytes and keeps what it was sent.
private func withServer(
    _ answer: String?, closes: Bool = true, _ body: (Int, Journal<String>) async throws -> Void
) async throws {
    let seen = Journal<String>()
    final class Answer: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        let text: String?
        let closes: Bool
        let seen: Journal<String>
        init(_ text: String?, _ closes: Bool, _ seen: Journal<String>) {
            self.text = text
            self.closes = closes
            self.seen = seen
        }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            seen.append(String(buffer: unwrapInboundIn(data)))
            guard let text else { return }
            context.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
            if closes { context.close(promise: nil) }
        }
    }
    let channel = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
        .childChannelInitializer { $0.pipeline.addHandler(Answer(answer, closes, seen)) }
        .bind(host: "127.0.0.1", port: 0).get()
    try await body(channel.localAddress?.port ?? 0, seen)
    try await channel.close()
}

@Suite("Probe runner")
struct ProbeRunnerTests {
    private func check(_ handler: Probe.Handler, connector: any Connector = LoopbackConnector()) async
        -> ProbeMachine.Event
    {
        await ProbeRunner(connector: connector, clock: SystemClock()).check(
            Probe(handler: handler, timeout: .seconds(5)))
    }

    @Test(
        "C7: http_get passes from 200 to 399 and for nothing else",
        arguments: [
            ("200 OK", true), ("204 No Content", true), ("301 Moved", true), ("399 X", true), ("199 X", false),
            ("400 Bad", false), ("404 Not Found", false),
            ("500 Oops", false), ("503 Wait", false),
        ])
    func statuses(_ status: String, _ passes: Bool) async throws {
        try await withServer("HTTP/1.1 \(status)\r\nContent-Length: 0\r\n\r\n") { port, seen in
            let event = await check(.httpGet(.init(port: port, path: "/healthz?a=b")))
            #expect((event == .success) == passes, "\(event)")
            let request = try #require(seen.all.first)
            #expect(request.hasPrefix("GET /healthz?a=b HTTP/1.1\r\n"))
            #expect(request.contains("User-Agent: kube-probe/"))
        }
    }

    @Test("C7: a status is enough: an endless body is not read, and interim answers are skipped")
    func endlessBody() async throws {
        let head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"
        try await withServer(head + String(repeating: "x", count: 100_000), closes: false) { port, _ in
            #expect(await check(.httpGet(.init(port: port))) == .success)
        }
    }

    @Test(
        "C7: an answer that is not HTTP, an endless head or a closed connection is a failure with a reason",
        arguments: [
            "hello\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 200_000), "",
            "HTTP/1.1 200 OK\r\nX: y\r\n",
        ])
    func hostile(_ answer: String) async throws {
        try await withServer(answer) { port, _ in
            guard case .failure(let reason) = await check(.httpGet(.init(port: port))) else {
                Issue.record("it passed")
                return
            }
            #expect(!reason.isEmpty)
        }
    }

    @Test("C7: tcp_socket passes while the port accepts, and fails when it refuses")
    func tcp() async throws {
        try await withServer(nil) { port, _ in
            #expect(await check(.tcpSocket(port: port)) == .success)
        }
        #expect(await check(.tcpSocket(port: 1)) == .failure("port 1: nothing listens"))
    }

    @Test("C14: exec passes with exit code 0 only; the last line of its output is the reason")
    func exec() async throws {
        for (code, expected) in [(0, ProbeMachine.Event.success), (3, .failure("the command exited with 3: no model"))]
        {
            let runner = ProbeRunner(connector: LoopbackConnector(), clock: SystemClock()) { command, timeout in
                #expect(command == ["check"])
                #expect(timeout == .seconds(2))
                return ExecResult(exitCode: code, output: "loading\nno model\n")
            }
            let event = await runner.check(Probe(handler: .exec(command: ["check"]), timeout: .seconds(2)))
            #expect(event == expected)
        }
    }

    @Test("C7: a check that hangs ends with its timeout, even when the engine ignores cancellation")
    func timeout() async throws {
        let clock = ManualClock()
        let connector = SilentConnector()
        defer { connector.end() }
        let runner = ProbeRunner(connector: connector, clock: clock)
        async let event = runner.check(Probe(handler: .tcpSocket(port: 80), timeout: .milliseconds(1500)))
        #expect(try await eventually { clock.sleepers == 1 })
        clock.advance(by: .milliseconds(1500))
        #expect(await event == .failure("port 80 gave no answer within 1.5 s"))
    }

    @Test("C7: changes are reported once each, in order, and a cancelled probe returns")
    func run() async throws {
        let clock = ManualClock()
        let script = Journal<Int>()
        let runner = ProbeRunner(connector: LoopbackConnector(), clock: clock) { _, _ in
            script.append(0)
            let codes = [1, 1, 2, 0, 0, 1, 0]
            return ExecResult(exitCode: codes[min(script.all.count, codes.count) - 1], output: "")
        }
        let reports = Journal<ProbeReport>()
        let probe = Probe(
            handler: .exec(command: ["x"]), initialDelay: .seconds(5), period: .seconds(2), failureThreshold: 1)
        let task = Task { await runner.run(probe) { reports.append($0) } }
        #expect(try await eventually { clock.sleepers == 1 })
        #expect(script.all.isEmpty)
        clock.advance(by: .seconds(5))
        for checks in 1...7 {
            #expect(try await eventually { script.all.count == checks && clock.sleepers == 1 })
            clock.advance(by: .seconds(2))
        }
        let expected = [
            ProbeReport(isHealthy: false, reason: "the command exited with 1"),
            ProbeReport(isHealthy: false, reason: "the command exited with 2"),
            ProbeReport(isHealthy: true), ProbeReport(isHealthy: false, reason: "the command exited with 1"),
            ProbeReport(isHealthy: true),
        ]
        #expect(try await eventually { reports.all.count >= expected.count })
        #expect(reports.all == expected)
        task.cancel()
        await task.value
    }
}
