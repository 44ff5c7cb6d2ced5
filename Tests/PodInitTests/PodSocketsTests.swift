import CLinux
import Core
import Foundation
import PodInitProtocol
import Support
import Synchronization
import TestSupport
import Testing

@testable import PodInitClient

@Suite("Sockets that the platform makes in a pod's network", .timeLimit(.minutes(2)))
struct PodSocketsTests {
    typealias OpenNetwork = @Sendable () async throws -> CInt?

    /// A process in a network namespace of its own, whose loopback interface is down.
    private static func withNetwork(_ body: (@escaping OpenNetwork) async throws -> Void) async throws {
        let process = try ChildProcess(
            "unshare", ["--user", "--map-root-user", "--net", "sleep", "1000"], environment: ["PATH": "/usr/bin:/bin"])
        defer { process.send(SIGKILL) }
        let pid = process.pid
        let isThere = try await eventually {
            let network = cx_network_of(pid)
            defer { if network >= 0 { close(network) } }
            return network >= 0 && cx_is_other_network(network) == 1
        }
        #expect(isThere)
        try await body { cx_network_of(pid) }
    }

    /// The helper in the place of `cortex-pod-init`. Written by another process: no other child of this process may
    /// hold it open for writing, which would keep it from being run.
    private static func script(_ text: String, in folder: URL) async throws -> String {
        let path = folder.appending(path: "helper-\(UInt32.random(in: .min ... .max))").path
        let written = try await ChildProcess.run(
            "sh", ["-c", "cat > \"$0\" && chmod 755 \"$0\"", path], environment: ["PATH": "/usr/bin:/bin"],
            input: "#!/bin/sh\n\(text)\n")
        try #require(written.status == 0)
        return path
    }

    private static func sockets(
        mayUseThread: Bool = false, helper: String = PodInitProcess.executable, helperTime: Duration = .seconds(60),
        onWay: @escaping @Sendable (PodSockets.Way) -> Void = { _ in }
    ) -> PodSockets {
        PodSockets(
            helper: helper, clock: SystemClock(), mayUseThread: mayUseThread, helperTime: helperTime, onWay: onWay)
    }

    @Test("N4: a connection fails with the reason of the pod's own network", arguments: [true, false])
    func ownNetwork(mayUseThread: Bool) async throws {
        try await Self.withNetwork { (network) async throws in
            let sockets = Self.sockets(mayUseThread: mayUseThread)
            // Something listens at this port of the platform's own network.
            let greeter = try Greeter()
            defer { greeter.stop() }
            for _ in 0..<20 {
                let error = await #expect(throws: PlatformError.self) {
                    _ = try await sockets.connect(
                        pod: "a", port: greeter.port, timeout: .seconds(30), network: network)
                }
                #expect(error?.code == .connectionFailed)
                #expect(error?.message == "Port \(greeter.port) of the pod: Network is unreachable.")
            }
            let isThread = mayUseThread && geteuid() == 0
            #expect(sockets.way == (isThread ? .thread : .helper))
            #expect(isThread ? sockets.kept(of: "a") == 0 : sockets.kept(of: "a") < PodSocketPool.largest)
            sockets.forget("a")
            #expect(sockets.kept(of: "a") == 0)
        }
    }

    @Test("N4: the platform's own network, and what is no network, are never entered")
    func otherNamespaces() async throws {
        let own = cx_network_of(getpid())
        defer { close(own) }
        #expect(cx_is_other_network(own) == 0)
        for path in ["/proc/self/ns/user", "/proc/self/ns/mnt", "/dev/null"] {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            defer { close(descriptor) }
            #expect(cx_is_other_network(descriptor) == 0)
        }
        for mayUseThread in geteuid() == 0 ? [true, false] : [false] {
            let sockets = Self.sockets(mayUseThread: mayUseThread)
            let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
            await #expect(throws: PlatformError.self) { _ = try await sockets.findWay(in: null) }
            #expect(sockets.way == nil)
        }
    }

    @Test("N4: the thread returns to the platform's network after each request", .enabled(if: geteuid() == 0))
    func threadReturns() async throws {
        try await Self.withNetwork { (network) async throws in
            let thread = NetworkThread()
            let descriptor = Descriptor(try #require(try await network()))
            for count in 1...3 {
                guard case .made(let made) = await thread.makeSockets(in: descriptor, isIPv6: false, count: count)
                else {
                    Issue.record("no sockets")
                    return
                }
                #expect(made.count == count)
                for socket in made {
                    #expect(cx_is_tcp(socket) == 1 && fcntl(socket, F_GETFL) & O_NONBLOCK != 0)
                    close(socket)
                }
            }
            // No failure of one request holds up the thread.
            let null = Descriptor(open("/dev/null", O_RDONLY | O_CLOEXEC))
            guard case .failed(EINVAL) = await thread.makeSockets(in: null, isIPv6: false, count: 1) else {
                Issue.record("not refused")
                return
            }
            #expect(try Self.threadsElsewhere() == [])
            #expect(try Self.names().contains("cortex-sockets"))
        }
    }

    @Test("N4: a thread that cannot return ends, and another one takes the next request", .enabled(if: geteuid() == 0))
    func lostThread() async throws {
        try await Self.withNetwork { (network) async throws in
            let opened = Mutex(0)
            let thread = NetworkThread {
                // The first thread gets a home that is no network.
                let number = opened.withLock { opened in
                    opened += 1
                    return opened
                }
                return number == 1 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : number == 2 ? -EMFILE : cx_network_of(0)
            }
            let descriptor = Descriptor(try #require(try await network()))
            func make() async -> NetworkThread.SocketResult {
                await thread.makeSockets(in: descriptor, isIPv6: false, count: 1)
            }
            guard case .made(let first) = await make() else {
                Issue.record("the sockets of a thread that cannot return are good")
                return
            }
            guard case .failed(EMFILE) = await make(), case .made(let third) = await make() else {
                Issue.record("no new thread")
                return
            }
            for socket in first + third { close(socket) }
            #expect(opened.withLock { $0 } == 3)
            try await expectEventually { try Self.threadsElsewhere() == [] }
        }
    }

    private static var tasks: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task") }
    }

    private static func names() throws -> [String] {
        try tasks.compactMap { try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8) }
            .map { $0.trimmingCharacters(in: .newlines) }
    }

    /// Threads of this process in another network than its main thread.
    private static func threadsElsewhere() throws -> [String] {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net")
        return try tasks.filter { task in
            let network = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/task/\(task)/ns/net")
            return network != nil && network != own
        }
    }

    @Test("N4: PodInit is asked for a connection only where the kernel never let the platform into a pod's network")
    func fallback() async throws {
        try await withTemporaryDirectory { (folder) async throws in
            let asked = Mutex(0)
            let pod = try StubPod { connection in
                StubPod.readRequest(connection)
                asked.withLock { $0 += 1 }
                StubPod.answer(["error", "connect", "asked"], to: connection)
            }
            defer { pod.stop() }
            try await Self.withNetwork { (network) async throws in
                func connector(
                    _ sockets: PodSockets, pod name: String = "a", _ open: @escaping OpenNetwork
                ) -> PodInitConnector {
                    PodInitConnector(
                        client: pod.client, timeout: .seconds(30),
                        own: .init(sockets: sockets, pod: name, network: open)
                    )
                }
                func message(_ connector: PodInitConnector) async -> String? {
                    let error = await #expect(throws: PlatformError.self) { _ = try await connector.connect(port: 80) }
                    #expect(error?.code == .connectionFailed)
                    return error?.message
                }
                // The kernel refuses from the beginning, or the namespace cannot be opened here: said once.
                let ways = Mutex<[PodSockets.Way]>([])
                let forbidden = Self.sockets(helper: try await Self.script("exit 3", in: folder)) { way in
                    ways.withLock { $0.append(way) }
                }
                for _ in 1...2 { #expect(await message(connector(forbidden, network)) == "asked") }
                let invisible = Self.sockets { way in ways.withLock { $0.append(way) } }
                for _ in 1...2 { #expect(await message(connector(invisible) { nil }) == "asked") }
                #expect(ways.withLock { $0 } == [.podInit, .podInit] && forbidden.way == .podInit)
                #expect(invisible.way == nil)
                // A failure of the first try decides nothing, and a refusal after a success neither.
                let real = PodInitProcess.executable
                let mark = folder.appending(path: "mark").path
                for (first, later) in [
                    ("exit 1", real), ("kill -9 $$", real), ("exit 0", real), (real, "exit 3"), (real, "kill -9 $$"),
                ] {
                    try? FileManager.default.removeItem(atPath: mark)
                    let text =
                        "if [ -e \(mark) ]; then set -- \(later) \"$@\"; else : > \(mark); set -- \(first) \"$@\"; fi"
                    // `exit` and `kill` are no programs.
                    let helper = try await Self.script(
                        "\(text)\ncase $1 in exit) exit $2;; kill) kill -9 $$;; esac\nexec \"$@\"", in: folder)
                    let sockets = Self.sockets(helper: helper)
                    for _ in 0..<4 {
                        #expect(await message(connector(sockets, network)) != "asked", "\(first) \(later)")
                    }
                    #expect(sockets.way == .helper, "\(first) \(later)")
                    #expect(
                        await message(connector(sockets, pod: "b") { nil }) == "The pod's network cannot be opened.")
                }
                #expect(asked.withLock { $0 } == 4)
            }
        }
    }

    @Test("N4: a slow helper fails one caller at its own deadline, and its sockets serve the next one")
    func slowHelper() async throws {
        try await withTemporaryDirectory { (folder) async throws in
            try await Self.withNetwork { (network) async throws in
                let gate = folder.appending(path: "gate").path
                let sockets = Self.sockets(
                    helper: try await Self.script(
                        "while ! [ -e \(gate) ]; do sleep 0.05; done; exec \(PodInitProcess.executable) \"$@\"",
                        in: folder))
                let error = await #expect(throws: PlatformError.self) {
                    _ = try await sockets.connect(
                        pod: "a", port: 80, timeout: .milliseconds(200), network: network)
                }
                #expect(error?.message == "No connection into the pod was made in time.")
                let waiting = Task {
                    try await sockets.connect(pod: "a", port: 80, timeout: .seconds(60), network: network)
                }
                waiting.cancel()
                await #expect(throws: CancellationError.self) { _ = try await waiting.value }
                #expect(sockets.way == nil)
                try "".write(toFile: gate, atomically: false, encoding: .utf8)
                try await expectEventually { sockets.kept(of: "a") == 2 }
                #expect(sockets.way == .helper)
                sockets.forget("a")
            }
        }
    }

    @Test("N4: a helper that hangs is killed, and decides nothing")
    func hangingHelper() async throws {
        try await withTemporaryDirectory { (folder) async throws in
            try await Self.withNetwork { (network) async throws in
                let file = folder.appending(path: "pid")
                let script = try await Self.script("echo $$ > \(file.path); exec sleep 1000", in: folder)
                let sockets = Self.sockets(helper: script, helperTime: .seconds(2))
                let error = await #expect(throws: PlatformError.self) {
                    _ = try await sockets.connect(pod: "a", port: 80, timeout: .seconds(60), network: network)
                }
                #expect(error?.code == .connectionFailed && sockets.way == nil)
                let text = try String(contentsOf: file, encoding: .utf8)
                let process = try #require(pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)))
                try await expectEventually { kill(process, 0) != 0 }
            }
        }
    }

    @Test("N4: the helper makes few sockets for an idle pod, and more while they are used up")
    func batches() {
        let pool = PodSocketPool()
        func batch(at milliseconds: Int64, isAdaptive: Bool = true) -> Int {
            let now = Instant(microseconds: milliseconds * 1000)
            let count = pool.batch(isIPv6: false, isAdaptive: isAdaptive, now: now)
            let made = (0..<count).map { _ in open("/dev/null", O_RDONLY | O_CLOEXEC) }
            _ = pool.add(made, isIPv6: false, now: now)
            return count
        }
        func takeAll() {
            while case .socket(let socket) = pool.next(isIPv6: false, make: { Task { .done } }) { close(socket) }
            pool.endWaiting(isIPv6: false)
            pool.endMaking(isIPv6: false)
        }
        #expect(batch(at: 0, isAdaptive: false) == 1)
        takeAll()
        var sizes: [Int] = []
        for round in 1...8 {
            sizes.append(batch(at: 5000 + Int64(round) * 900))
            takeAll()
        }
        #expect(sizes == [2, 4, 8, 16, 32, 64, 64, 64])
        // A second without need for more: small again.
        #expect(batch(at: 14_000) == 2)
        takeAll()
        // Callers that wait together are served together.
        for _ in 0..<10 { _ = pool.next(isIPv6: false) { Task { .done } } }
        #expect(batch(at: 30_000) == 10)
        #expect(pool.count == 10 && !pool.trim(now: Instant(microseconds: 39_000_000)) && pool.count == 10)
        #expect(pool.trim(now: Instant(microseconds: 40_000_000)) && pool.count == 2)
        pool.close()
        #expect(pool.count == 0)
        let late = open("/dev/null", O_RDONLY | O_CLOEXEC)
        #expect(!pool.add([late], isIPv6: false, now: Instant(microseconds: 0)) && pool.count == 0)
    }
}
