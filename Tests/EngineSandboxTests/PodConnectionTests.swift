import CLinux
import Core
import Foundation
import PodInitClient
import PodInitProtocol
import Support
import Synchronization
import TestSupport
import Testing

@testable import EngineSandbox

/// Also run as an ordinary user (SandboxOrdinaryUserTests).
@Suite("Connections into a sandbox pod", .timeLimit(.minutes(5)))
struct SandboxConnectionTests {
    /// Greets, and closes when the other side does.
    private static let server = """
        import socketserver
        class Handler(socketserver.BaseRequestHandler):
            def handle(self): self.request.sendall(b"true server"); self.request.recv(1)
        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            request_queue_size = 128
        Server(("127.0.0.1", 8080), Handler).serve_forever()
        """

    /// Runs the body with a pod whose server accepts, and stops the pod.
    private func withServer(
        _ body: (SandboxFixture, SandboxEngine, PodPlan, any Connector) async throws -> Void
    ) async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let plan = fixture.plan([ContainerPlan(name: "api", command: ["python3", "-c", Self.server])])
            let engine = fixture.engine()
            try await engine.start(plan)
            let connector = engine.connector(pod: plan.id)
            let isServed = try await eventually {
                do {
                    close(try await connector.connect(port: 8080))
                    return true
                } catch let error as PlatformError where error.code == .connectionFailed {
                    return false
                }
            }
            #expect(isServed)
            let isPermitted = geteuid() == 0 && PodUsers.areAvailable()
            #expect(engine.sockets.way == (isPermitted ? .thread : .helper))
            try await body(fixture, engine, plan, connector)
            try await engine.stop(pod: plan.id, grace: .zero)
        }
    }

    private func link(_ path: String) throws -> String {
        try FileManager.default.destinationOfSymbolicLink(atPath: path)
    }

    @Test("N4: no process of a pod holds the platform's connections")
    func holders() async throws {
        try await withServer { (fixture, engine, plan, connector) async throws in
            var descriptors: [CInt] = []
            defer { for descriptor in descriptors { close(descriptor) } }
            for _ in 0..<20 { descriptors.append(try await connector.connect(port: 8080)) }
            for descriptor in descriptors {
                #expect(fcntl(descriptor, F_GETFL) & O_NONBLOCK != 0 && fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
                let isReadable = try await eventually {
                    var event = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                    return poll(&event, 1, 0) > 0
                }
                var text = [UInt8](repeating: 0, count: 64)
                let count = recv(descriptor, &text, text.count, 0)
                #expect(isReadable && String(decoding: text[..<max(0, count)], as: UTF8.self) == "true server")
            }
            let own = try Set(descriptors.map { try link("/proc/self/fd/\($0)") })
            #expect(own.count == 20 && own.allSatisfy { $0.hasPrefix("socket:") })
            for process in try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap({ pid_t($0) })
            where process != getpid() {
                let folder = "/proc/\(process)/fd"
                let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
                let held = Set(names.compactMap { try? link("\(folder)/\($0)") })
                #expect(held.isDisjoint(with: own), "process \(process)")
            }
            let refused = await #expect(throws: PlatformError.self) { close(try await connector.connect(port: 8081)) }
            #expect(
                refused?.code == .connectionFailed && refused?.message == "Port 8081 of the pod: Connection refused.")
        }
    }

    @Test("N4: a PodInit that keeps a copy of a connection and makes it block cannot block a thread of the platform")
    func hostileCopy() async throws {
        try await withServer { (fixture, engine, plan, connector) async throws in
            let hostile = try HostileControl(path: fixture.folder(plan.id).socket)
            defer { hostile.stop() }
            for _ in 0..<3 {
                let descriptor = try await connector.connect(port: 8080)
                // The greeting, if it is the pod's server, and then nothing.
                let ended = Mutex<[Int]?>(nil)
                try PlatformThread.start(name: "test-read") {
                    var event = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                    _ = poll(&event, 1, 1000)
                    var bytes = [UInt8](repeating: 0, count: 64)
                    let first = recv(descriptor, &bytes, bytes.count, 0)
                    let second = recv(descriptor, &bytes, bytes.count, 0)
                    ended.withLock { [error = errno] in $0 = [first, second, Int(error)] }
                }
                let hasEnded = try await eventually(within: .seconds(10)) { ended.withLock { $0 != nil } }
                #expect(hasEnded && ended.withLock { $0 } == [11, -1, Int(EAGAIN)])
                shutdown(descriptor, CInt(SHUT_RDWR))
                close(descriptor)
            }
            #expect(hostile.connectRequests == 0)
        }
    }

    @Test("N4: a thousand connections leave no descriptor, and the pod's end closes what is kept for it")
    func noLeak() async throws {
        try await withServer { (fixture, engine, plan, connector) async throws in
            let supervisor = try fixture.supervisor(plan.id)
            let network = try link("/proc/\(supervisor)/ns/net")
            @Sendable func socketsInUse() throws -> Int {
                let text = try String(contentsOfFile: "/proc/\(supervisor)/net/sockstat", encoding: .utf8)
                let words = text.split(whereSeparator: \.isWhitespace)
                try #require(words.prefix(2) == ["sockets:", "used"])
                return Int(words[2]) ?? -1
            }
            @Sendable func namespacesOpen() throws -> Int {
                try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
                    .filter { (try? link("/proc/self/fd/\($0)")) == network }.count
            }
            let kept = engine.sockets.kept(of: plan.id)
            let before = try socketsInUse() - kept
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<1000 {
                    if number >= 20 { try await group.next() }
                    group.addTask { close(try await connector.connect(port: 8080)) }
                }
                try await group.waitForAll()
            }
            // One or two may still be closed by the server.
            let areClosed = try await eventually {
                try socketsInUse() - engine.sockets.kept(of: plan.id) <= before
            }
            let after = try socketsInUse()
            #expect(areClosed, "\(before) sockets before, \(after) after")
            // A socket that is kept may just be made.
            try await expectEventually { try namespacesOpen() == 1 && engine.sockets.kept(of: plan.id) <= 64 }
            try await engine.stop(pod: plan.id, grace: .zero)
            #expect(try engine.sockets.kept(of: plan.id) == 0 && namespacesOpen() == 0)
            let gone = await #expect(throws: PlatformError.self) { close(try await connector.connect(port: 8080)) }
            #expect(gone?.code == .connectionFailed)
            #expect(try engine.sockets.kept(of: plan.id) == 0 && namespacesOpen() == 0)
        }
    }
}

/// Takes the place of a pod's `PodInit`: passes connections of which it keeps a copy, and makes them block.
private final class HostileControl: Sendable {
    private struct State {
        var isStopped = false
        var requests = 0
        var copies: [CInt] = []
    }

    private let state = Mutex(State())
    private let path: String

    init(path: String) throws {
        self.path = path
        try FileManager.default.removeItem(atPath: path)
        let control = cx_unix_listen(path, 0o600, 16)
        let server = cx_tcp_listen(0x7F00_0001, 0, 16)
        try #require(control >= 0 && server >= 0)
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(server, $0, &length) }
        }
        let port = UInt16(bigEndian: address.sin_port)
        try PlatformThread.start(name: "hostile") { [self] in
            while !state.withLock({ $0.isStopped }) {
                var events = [pollfd(fd: control, events: Int16(POLLIN), revents: 0)]
                guard poll(&events, 1, 50) > 0 else { continue }
                let asking = cx_accept(control)
                answer(asking, port)
                close(asking)
            }
            close(control)
            close(server)
        }
    }

    /// How often it was asked for a connection.
    var connectRequests: Int { state.withLock { $0.requests } }

    func stop() {
        let copies = state.withLock { state in
            state.isStopped = true
            return state.copies
        }
        // Whatever blocks goes on.
        for copy in copies {
            shutdown(copy, CInt(SHUT_RDWR))
            close(copy)
        }
        unlink(path)
    }

    private func answer(_ asking: CInt, _ port: UInt16) {
        var event = pollfd(fd: asking, events: Int16(POLLIN), revents: 0)
        _ = poll(&event, 1, 1000)
        var request = [UInt8](repeating: 0, count: 1024)
        let count = recv(asking, &request, request.count, 0)
        // Others may ask: the engine subscribes to what containers do.
        guard String(decoding: request[..<max(0, count)], as: UTF8.self).contains(Verb.connect.rawValue) else { return }
        let copy = cx_loopback_connect(port, 0)
        var connected = pollfd(fd: copy, events: Int16(POLLOUT), revents: 0)
        _ = poll(&connected, 1, 1000)
        state.withLock { state in
            state.requests += 1
            state.copies.append(copy)
        }
        let frame = Frame.encode([Answer.ok.rawValue])
        _ = cx_send(asking, frame, frame.count, copy)
        _ = poll(&event, 1, 1000)
        _ = fcntl(copy, F_SETFL, fcntl(copy, F_GETFL) & ~O_NONBLOCK)
    }
}
