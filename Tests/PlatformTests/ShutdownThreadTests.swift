import Core
import Foundation
import Logging
import ServiceLifecycle
import StoreMemory
import Support
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Platform

@Suite("U4: the end of the process depends on no other part", .serialized, .timeLimit(.minutes(2)))
struct ShutdownThreadTests {
    /// Blocks every thread of the cooperative pool, and fills standard error.
    private static func blockEverything() {
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else { return }
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        let bytes = [UInt8](repeating: 65, count: 4096)
        while write(ends[1], bytes, bytes.count) > 0 {}
        _ = fcntl(ends[1], F_SETFL, 0)
        dup2(ends[1], STDERR_FILENO)
        for _ in 0..<64 { Task { while true { usleep(1_000_000) } } }
    }

    @Test("U4: with all threads blocked and standard error full, a shutdown that does not end exits 1 in time")
    func watchdog() async throws {
        let start = SystemClock().instant()
        await #expect(processExitsWith: .exitCode(1)) {
            // Half a second after SIGTERM: the grace period is at least 10 s.
            _ = try ShutdownThread.start(exitAfter: .milliseconds(-9500))
            Self.blockEverything()
            kill(getpid(), SIGTERM)
            while true { usleep(1_000_000) }
        }
        #expect(SystemClock().instant() - start < .seconds(20))
    }

    @Test("U4: with all threads blocked and standard error full, a second signal exits at once with 130")
    func secondSignal() async throws {
        await #expect(processExitsWith: .exitCode(130)) {
            _ = try ShutdownThread.start()
            Self.blockEverything()
            kill(getpid(), SIGHUP)
            kill(getpid(), SIGTERM)
            kill(getpid(), SIGHUP)
            usleep(200_000)
            kill(getpid(), SIGINT)
            while true { usleep(1_000_000) }
        }
    }

    @Test("U4: a SIGHUP together with SIGTERM is not a second signal; an earlier signal is not lost")
    func hangupBesideTerm() async throws {
        await #expect(processExitsWith: .exitCode(7)) {
            let thread = try ShutdownThread.start()
            kill(getpid(), SIGTERM)
            kill(getpid(), SIGHUP)
            kill(getpid(), SIGHUP)
            while !thread.isStopRequested { usleep(1000) }
            thread.onStop { _exit(7) }
        }
    }

    @Test(
        "U4: a SIGHUP a second after the first signal is a second signal and exits at once with 130",
        arguments: [SIGHUP, SIGTERM])
    func laterHangup(first: CInt) async throws {
        await #expect(processExitsWith: .exitCode(130)) { [first] in
            _ = try ShutdownThread.start()
            kill(getpid(), first)
            usleep(1_100_000)
            kill(getpid(), SIGHUP)
            while true { usleep(1_000_000) }
        }
    }

    @Test("U5: the message about an address names the flag that chose it")
    func addressFlags() async throws {
        // TEST-NET-3 (RFC 5737): an address that no machine has.
        let addresses = [
            PortCheck.Address(host: "203.0.113.7", port: 0, hostFlag: "--operator-host", portFlag: "--operator-port")
        ]
        let error = await #expect(throws: PlatformError.self) { try await PortCheck.check(addresses) }
        #expect(error?.message.hasSuffix("choose an address of this machine with --operator-host") == true)
    }

    @Test("U4: operations under way are listed with their age, one per line")
    func lines() async throws {
        let registry = OperationRegistry()
        #expect(ShutdownThread.lines(of: registry) == "; no operation is under way\n")
        await withOperation("stop pod", "iris-1", in: registry) {
            #expect(ShutdownThread.lines(of: registry) == "; still under way:\n  stop pod iris-1, for 0s\n")
        }
    }

    @Test("U4: a service that was asked to stop and has not is named until it ends")
    func namedServices() async throws {
        struct Slow: Service {
            let gate: AsyncStream<Void>
            func run() async throws { for await _ in gate {} }
        }
        let registry = OperationRegistry()
        let (gate, open) = AsyncStream.makeStream(of: Void.self)
        let group = ServiceGroup(
            services: [NamedService(name: "slow", service: Slow(gate: gate), operations: registry)],
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let run = Task { try await group.run() }
        // Triggering before it runs would end the group without running anything.
        try await expectEventually {
            await group.triggerGracefulShutdown()
            return registry.underWay().map(\.subject) == ["slow"]
        }
        open.finish()
        _ = try? await run.value
        #expect(registry.underWay().isEmpty)
    }

    @Test("U4: a sleep of a second that lasts much longer is logged")
    func clockWatch() async throws {
        let clock = ManualClock()
        let lines = Lines()
        var logger = Logger(label: "test") { _ in lines }
        logger.logLevel = .info
        let watch = Task { [logger] in try await ClockWatch(clock: clock, logger: logger).run() }
        defer { watch.cancel() }
        try await expectEventually { clock.sleepers == 1 }
        clock.advance(by: .seconds(1))
        try await expectEventually { clock.sleepers == 1 }
        #expect(lines.all.isEmpty)
        clock.advance(by: .seconds(7))
        try await expectEventually { lines.all.count == 1 }
        #expect(lines.all.first?.contains("much longer") == true)
    }

    @Test("U4: the health check returns in time although the engine neither answers nor reacts to cancellation")
    func healthInTime() async throws {
        let engine = FakeEngine()
        engine.holdLists()
        defer { engine.releaseLists() }
        let clock = ManualClock()
        let disk = DiskWatch(reserve: .standard, clock: clock, logger: Logger(label: "test")) {
            [DiskSpace(free: 1 << 40, total: 1 << 40)]
        }
        let health = PlatformHealth(
            store: MemoryStore(), engine: engine, book: AddressBook(), disk: disk, clock: clock)
        let components = Task { await health.components() }
        try await expectEventually { clock.sleepers >= 1 }
        try await expectEventually {
            clock.advance(by: PlatformHealth.limit)
            return clock.sleepers == 0
        }
        let engineHealth = await components.value.first { $0.name == "engine" }
        #expect(engineHealth?.detail == "does not answer within 5s")
    }

    @Test("N9: a message repeats no URL and no list of parameters, because they may hold a password")
    func shownValues() {
        #expect(PlatformSettings.shown("sqlite") == "sqlite")
        #expect(PlatformSettings.shown("postgres://u:secret@h/d") == "postgres://…")
        #expect(!PlatformSettings.shown("host=h password=secret").contains("secret"))
        #expect(!PlatformSettings.shown("u:secret@h").contains("secret"))
    }

    @Test("N9: errors of libraries are never printed with their values")
    func foreignErrors() {
        struct Foreign: Error { var token = "s3cr3t" }
        enum Other: Error { case failed(token: String), plain }
        let wrapped = PlatformError(.internal, "m", cause: Foreign())
        for text in [
            wrapped.description, Foreign().safeDescription, Other.failed(token: "s3cr3t").safeDescription,
        ] {
            #expect(!text.contains("s3cr3t"), "\(text)")
        }
        #expect(Other.plain.safeDescription == "Other.plain")
        #expect(Other.failed(token: "x").safeDescription == "Other.failed")
        #expect(PlatformError(.notFound, "no").safeDescription == "not_found: no")
    }

    private final class Lines: LogHandler {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        var logLevel: Logger.Level {
            get { .info }
            set {}
        }
        var metadata: Logger.Metadata {
            get { [:] }
            set {}
        }
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { nil }
            set {}
        }
        func log(event: LogEvent) { lines.withLock { $0.append("\(event.message)") } }
    }
}
