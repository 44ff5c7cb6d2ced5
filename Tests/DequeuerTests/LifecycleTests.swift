import Core
import Logging
import ServiceLifecycle
import StoreMemory
import Support
import Synchronization
import TestSupport
import Testing

@testable import Dequeuer

/// A container that reads a request and answers only when the gate opens.
private func patient(
    _ gate: Gate, _ seen: Journal<Int> = Journal(), _ closed: Journal<Int> = Journal()
) -> @Sendable (inout ContainerServer.Connection) async throws -> Void {
    { connection in
        while try await connection.readRequest() != nil {
            let number = connection.number
            seen.append(number)
            await gate.wait()
            do {
                try await connection.answer("\(number)")
            } catch {
                closed.append(number)
                throw error
            }
        }
        closed.append(connection.number)
    }
}

/// A container that never answers and notes when its connection is closed.
private func silent(
    _ seen: Journal<Int>, _ closed: Journal<Int>
) -> @Sendable (inout ContainerServer.Connection) async throws -> Void {
    { connection in
        guard try await connection.readRequest() != nil else { return }
        seen.append(connection.number)
        await connection.waitForClose()
        closed.append(connection.number)
    }
}

@Suite("Time and ends", .timeLimit(.minutes(5)))
struct LifecycleTests {
    private func manual(_ change: (inout Platform.Settings) -> Void = { _ in }) -> (ManualClock, Platform.Settings) {
        let clock = ManualClock()
        var settings = Platform.Settings()
        settings.clock = clock
        settings.configuration = DequeuerConfiguration()
        change(&settings)
        return (clock, settings)
    }

    @Test("R: a ready replica of a RealtimeAPI gets nothing from the queue, also not of an API with its name")
    func replicasOfOtherKinds() async throws {
        try await Platform.with(container: { connection in
            while try await connection.readRequest() != nil { try await connection.answer("1") }
        }) { platform, server in
            var api = platform.api
            api.specification.kind = .realtime(RealtimeSpecification(workload: api.specification.workload))
            let connector = LoopbackConnector(port: server.port)
            let other = ReadyReplica(id: "api-2", api: api, connector: connector, activity: LocalReplicaActivity())
            platform.ready.yield([other, platform.replica])
            for _ in 0..<10 {
                let record = try await platform.run()
                #expect(record.status == .completed)
            }
            #expect(connector.attempts == 0)
        }
    }

    @Test(
        "A3: an attempt that takes longer than timeout is broken off; the connection is closed",
        arguments: [false, true])
    func timeout(_ isDripping: Bool) async throws {
        let (clock, settings) = manual { $0.requests.timeout = .milliseconds(1500) }
        let seen = Journal<Int>()
        let closed = Journal<Int>()
        try await Platform.with(settings) { connection in
            guard try await connection.readRequest() != nil else { return }
            if isDripping {
                try await connection.write(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[1")
            }
            seen.append(connection.number)
            await connection.waitForClose()
            closed.append(connection.number)
        } _: { platform, _ in
            let id = try await platform.submit()
            #expect(try await eventually { seen.all.count == 1 })
            clock.advance(by: .milliseconds(1499))
            #expect(try await platform.read(id).status == .inProgress)
            clock.advance(by: .milliseconds(1))
            let record = try await platform.end(of: id)
            #expect(record.failure?.kind == .timeout)
            #expect(record.failure?.message.contains("1.5 s") == true)
            #expect(record.attempts == 1)
            #expect(try await eventually { closed.all == [1] })
        }
    }

    @Test(
        "A3: a clock that is set forward ends no attempt before its time, and one that is set back ends none later",
        arguments: [3600, -3600])
    func timeoutWhenClockIsSet(_ seconds: Int) async throws {
        let (clock, settings) = manual { $0.requests.timeout = .seconds(20) }
        let seen = Journal<Int>()
        try await Platform.with(settings, container: silent(seen, Journal())) { platform, _ in
            let id = try await platform.submit()
            try await expectEventually { seen.all.count == 1 }
            clock.jump(by: .seconds(seconds))
            // The lease is extended meanwhile, so the worker has looked at its times.
            clock.advance(by: .seconds(10))
            try await expectEventually { platform.store.extensions >= 1 }
            clock.advance(by: .milliseconds(9999))
            #expect(try await platform.read(id).status == .inProgress)
            clock.advance(by: .milliseconds(1))
            #expect(try await platform.end(of: id).failure?.kind == .timeout)
        }
    }

    @Test("A10: the lease of a request is extended every 10 s for as long as the container works")
    func extension_() async throws {
        let (clock, settings) = manual()
        let gate = Gate()
        let seen = Journal<Int>()
        try await Platform.with(settings, container: patient(gate, seen)) { platform, _ in
            let id = try await platform.submit()
            #expect(try await eventually { seen.all.count == 1 })
            for round in 1...12 {
                clock.advance(by: .seconds(10))
                #expect(try await eventually { platform.store.extensions == round })
                #expect(try await platform.store.maintain(now: clock.now()).rescued == 0)
            }
            gate.open()
            let record = try await platform.end(of: id)
            #expect(record.status == .completed)
            #expect(record.attempts == 1)
        }
    }

    @Test("A10: an extension that the store does not take is tried again well before the lease ends")
    func failingExtension() async throws {
        let (clock, settings) = manual()
        let gate = Gate()
        let seen = Journal<Int>()
        try await Platform.with(settings, container: patient(gate, seen)) { platform, _ in
            let id = try await platform.submit()
            #expect(try await eventually { seen.all.count == 1 })
            platform.store.faults.withLock { $0.extensions = 3 }
            clock.advance(by: .seconds(10))
            for round in 1...4 {
                #expect(try await eventually { platform.store.extensions >= round })
                #expect(try await eventually { clock.sleepers >= 1 })
                if round < 4 { clock.advance(by: .seconds(1)) }
            }
            #expect(try await platform.store.maintain(now: clock.now() + .seconds(29)).rescued == 0)
            gate.open()
            let record = try await platform.end(of: id)
            #expect(record.status == .completed)
        }
    }

    @Test("A10: a request that was given to someone else is broken off, and what comes of it changes nothing")
    func lostLease() async throws {
        let (clock, settings) = manual()
        let seen = Journal<Int>()
        let closed = Journal<Int>()
        try await Platform.with(settings, container: silent(seen, closed)) { platform, _ in
            let id = try await platform.submit()
            #expect(try await eventually { seen.all.count == 1 })
            // This process was considered dead, and another one took the request.
            platform.ready.yield([])
            let process = DequeuerConfiguration().process
            #expect(try await platform.store.beat(process: process, now: clock.now()) == 0)
            #expect(try await platform.store.beat(process: "next", now: clock.now()) == 1)
            let other = try await platform.store.claim(
                api: "api", limit: 1, visibility: .seconds(30), holder: "other", now: clock.now())
            #expect(other.map(\.id) == [id])
            clock.advance(by: .seconds(10))
            #expect(try await eventually { closed.all == [1] })
            #expect(try await eventually { platform.activity.inFlight == 0 })
            #expect(try await platform.read(id).status == .inProgress)
            #expect(try await platform.read(id).attempts == 0)
        }
    }

    @Test("A7: a cancelled request's connection to the container is closed, and the slot is free again")
    func cancel() async throws {
        let seen = Journal<Int>()
        let closed = Journal<Int>()
        try await Platform.with(container: silent(seen, closed)) { platform, _ in
            for number in 1...2 {
                let id = try await platform.submit()
                #expect(try await eventually { seen.all.count == number })
                let cancelled = try await platform.store.cancel(id, api: "api", now: platform.clock.now())
                #expect(cancelled?.wasCancelled == true)
                #expect(try await eventually { closed.all.count == number })
                #expect(try await platform.read(id).status == .cancelled)
            }
        }
    }

    @Test("A7: a missed hint of a cancel is made up for by the next extension")
    func missedCancel() async throws {
        let (clock, settings) = manual { $0.prepare = { store in store.faults.withLock { $0.hintsAreLost = true } } }
        let seen = Journal<Int>()
        let closed = Journal<Int>()
        try await Platform.with(settings, container: silent(seen, closed)) { platform, _ in
            let id = try await platform.submit()
            // No hint of the submit either: the slow poll finds it.
            #expect(
                try await eventually {
                    clock.advance(by: .milliseconds(100))
                    return seen.all.count == 1
                })
            _ = try await platform.store.cancel(id, api: "api", now: clock.now())
            clock.advance(by: .seconds(10))
            #expect(try await eventually { closed.all == [1] })
        }
    }

    @Test("C13: on shutdown nothing new is sent, and what is inside may end")
    func shutdown() async throws {
        let (clock, settings) = manual()
        let gate = Gate()
        let seen = Journal<Int>()
        try await Platform.with(settings, container: patient(gate, seen)) { platform, _ in
            let inside = try await platform.submit()
            let queued = try await platform.submit()
            try await expectEventually { seen.all.count == 1 }
            // The worker's own timer.
            try await expectEventually { clock.sleepers == 1 }
            await platform.services.triggerGracefulShutdown()
            // The grace period has begun: every worker knows.
            try await expectEventually { clock.sleepers == 2 }
            gate.open()
            try await platform.finished.value
            #expect(try await platform.read(inside).status == .completed)
            #expect(try await platform.read(queued).status == .inQueue)
            #expect(try await platform.read(queued).attempts == 0)
            #expect(seen.all.count == 1)
        }
    }

    @Test("C13: what is still inside when the grace is over goes back to the queue and uses up no attempt")
    func shutdownGrace() async throws {
        let (clock, settings) = manual { $0.configuration.grace = .seconds(60) }
        let seen = Journal<Int>()
        let closed = Journal<Int>()
        try await Platform.with(settings, container: silent(seen, closed)) { platform, _ in
            let id = try await platform.submit()
            #expect(try await eventually { seen.all.count == 1 })
            let asleep = clock.sleepers
            await platform.services.triggerGracefulShutdown()
            #expect(try await eventually { clock.sleepers > asleep })
            clock.advance(by: .seconds(59))
            #expect(closed.all.isEmpty)
            clock.advance(by: .seconds(1))
            try await platform.finished.value
            #expect(try await platform.read(id).status == .inQueue)
            #expect(try await platform.read(id).attempts == 0)
            #expect(try await eventually { closed.all == [1] })
        }
    }

    @Test("C13: a cancelled dequeuer gives back at once what is inside")
    func cancelledTask() async throws {
        let seen = Journal<Int>()
        let closed = Journal<Int>()
        try await Platform.with(container: silent(seen, closed)) { platform, _ in
            let id = try await platform.submit()
            #expect(try await eventually { seen.all.count == 1 })
            platform.finished.cancel()
            _ = await platform.finished.result
            #expect(try await platform.read(id).status == .inQueue)
            #expect(try await platform.read(id).attempts == 0)
        }
    }

    @Test("C13: a drained replica gets nothing new; when it is cut, what is inside goes back without an attempt")
    func cut() async throws {
        let seen = Journal<Int>()
        let closed = Journal<Int>()
        try await Platform.with(container: silent(seen, closed)) { platform, _ in
            let id = try await platform.submit()
            #expect(try await eventually { seen.all.count == 1 })
            platform.activity.close()
            let next = try await platform.submit()
            platform.activity.cut()
            await platform.activity.waitUntilIdle()
            #expect(try await eventually { try await platform.read(id).status == .inQueue })
            #expect(try await platform.read(id).attempts == 0)
            #expect(try await platform.read(next).status == .inQueue)
            #expect(seen.all == [1])
        }
    }

    @Test("C7: a replica that is not ready gets nothing; those inside go on; ready again it goes on")
    func readiness() async throws {
        let gate = Gate()
        let seen = Journal<Int>()
        try await Platform.with(container: patient(gate, seen)) { platform, _ in
            let first = try await platform.submit()
            #expect(try await eventually { seen.all.count == 1 })
            // The replica of another API instead: its first claim shows that the list has arrived. The full replica
            // claims nothing.
            let claims = platform.store.claims
            var other = platform.api
            other.specification.name = "other"
            platform.ready.yield([
                ReadyReplica(
                    id: "other-1", api: other, connector: platform.connector, activity: LocalReplicaActivity())
            ])
            #expect(try await eventually { platform.store.claims > claims })
            let second = try await platform.submit()
            gate.open()
            #expect(try await platform.end(of: first).status == .completed)
            #expect(try await platform.read(second).status == .inQueue)
            #expect(seen.all.count == 1)
            platform.ready.yield([platform.replica])
            #expect(try await platform.end(of: second).status == .completed)
            // And once more in quick succession.
            for _ in 0..<20 {
                platform.ready.yield([])
                platform.ready.yield([platform.replica])
            }
            #expect(try await platform.run().status == .completed)
        }
    }

    @Test("A10: a result is not lost while the store is away: it is offered until the store takes it")
    func storeAwayAtFinish() async throws {
        try await Platform.with { connection in
            while try await connection.readRequest() != nil { try await connection.answer("[42]") }
        } _: { platform, _ in
            platform.store.faults.withLock { $0.finishes = 3 }
            let record = try await platform.run()
            #expect(record.status == .completed)
            #expect(record.attempts == 1)
            #expect(try await platform.result(record) == bytes("[42]"))
        }
    }

    @Test("A10: claims go on when the store is back")
    func storeAwayAtClaim() async throws {
        var settings = Platform.Settings()
        settings.prepare = { store in store.faults.withLock { $0.claims = 3 } }
        try await Platform.with(settings) { connection in
            while try await connection.readRequest() != nil { try await connection.answer("1") }
        } _: { platform, _ in
            let record = try await platform.run()
            #expect(record.status == .completed)
            #expect(platform.store.claims >= 4)
        }
    }

    @Test("A10: a large result that cannot be written goes back to the queue, with no attempt used")
    func fullDisk() async throws {
        let large = "\"" + String(repeating: "x", count: 200_000) + "\""
        try await Platform.with { connection in
            while try await connection.readRequest() != nil { try await connection.answer(large) }
        } _: { platform, _ in
            platform.store.faults.withLock { $0.bodyWrites = 2 }
            let record = try await platform.run()
            #expect(record.status == .completed)
            #expect(record.attempts == 1)
            #expect(try await platform.result(record).count == 200_002)
        }
    }
}

@Suite("Rescuer", .timeLimit(.minutes(5)))
struct RescuerTests {
    @Test("A10: upkeep runs at once and every few seconds, also after the store was away; shutdown ends it")
    func upkeep() async throws {
        let clock = ManualClock()
        let store = FaultyStore()
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let rescuer = Rescuer(
            store: store, process: "process", clock: clock, random: SeededGenerator(seed: 1), logger: logger)
        let group = ServiceGroup(services: [rescuer], logger: logger)
        let run = Task { try await group.run() }
        for round in 1...6 {
            #expect(try await eventually { store.maintenances == round && clock.sleepers == 2 })
            if round == 2 { store.faults.withLock { $0.maintenances = 3 } }
            clock.advance(by: .seconds(7))
        }
        await group.triggerGracefulShutdown()
        try await run.value
    }

    @Test(
        "A10: after the clock jumped, leases that seem expired are released only if their worker does not extend them either",
        arguments: ["set forward", "stood still"])
    func leap(_ how: String) async throws {
        let clock = ManualClock()
        let store = FaultyStore()
        let api = Platform.api()
        try await store.deploy(api, now: clock.now())
        let dice = Mutex(SeededGenerator(seed: 1))
        for _ in 0..<2 {
            let id = dice.withLock { RequestID(now: clock.now(), using: &$0) }
            _ = try await store.submit(
                Submission(id: id, api: api.name, payload: .inline([])), maxQueueLength: nil, now: clock.now())
        }
        let claimed = try await store.claim(
            api: api.name, limit: 2, visibility: Limits.lease, holder: "process", now: clock.now())
        let (alive, dead) = (claimed[0].lease, claimed[1].lease)
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let rescuer = Rescuer(
            store: store, process: "process", clock: clock, random: SeededGenerator(seed: 1), logger: logger)
        let group = ServiceGroup(services: [rescuer], logger: logger)
        let run = Task { try await group.run() }
        try await expectEventually { store.maintenances == 1 && clock.sleepers == 2 }
        if how == "set forward" { clock.jump(by: .seconds(3600)) } else { clock.advance(by: .seconds(3600)) }
        clock.advance(by: .seconds(5))
        try await expectEventually { clock.sleepers == 2 }
        // As late as a worker may be.
        clock.advance(by: Limits.leaseExtension)
        #expect(try await store.extend([alive], visibility: Limits.lease, now: clock.now()) == [])
        #expect(store.maintenances == 1)
        clock.advance(by: Rescuer.clockJump)
        try await expectEventually { store.maintenances == 2 }
        #expect(try await store.read(alive.id, api: api.name, now: clock.now())?.status == .inProgress)
        #expect(try await store.read(dead.id, api: api.name, now: clock.now())?.status == .inQueue)
        await group.triggerGracefulShutdown()
        try await run.value
    }

    @Test("A10: a process lives also while its upkeep takes long; one that is silent loses its leases")
    func heartbeat() async throws {
        let clock = ManualClock()
        let store = SlowStore()
        let api = Platform.api()
        try await store.deploy(api, now: clock.now())
        var random = SeededGenerator(seed: 1)
        for _ in 0..<2 {
            let id = RequestID(now: clock.now(), using: &random)
            _ = try await store.submit(
                Submission(id: id, api: api.name, payload: .inline([])), maxQueueLength: nil, now: clock.now())
        }
        var leases: [Lease] = []
        for process in ["process", "silent"] {
            _ = try await store.base.beat(process: process, now: clock.now())
            let holder = LeaseHolder(process: process, replica: "r")
            leases += try await store.claim(
                api: api.name, limit: 1, visibility: .seconds(1000), holder: holder, now: clock.now()
            ).map(\.lease)
        }
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let rescuer = Rescuer(
            store: store, process: "process", clock: clock, random: SeededGenerator(seed: 1), logger: logger)
        let group = ServiceGroup(services: [rescuer], logger: logger)
        let run = Task { try await group.run() }
        // The first upkeep does not return; only the heartbeat sleeps.
        try await expectEventually { store.upkeeps == 1 && clock.sleepers == 1 }
        for beats in 1...5 {
            clock.advance(by: Limits.heartbeat)
            try await expectEventually { store.beats == beats && clock.sleepers == 1 }
        }
        store.endUpkeep()
        try await expectEventually { clock.sleepers == 2 }
        clock.advance(by: Limits.heartbeat)
        try await expectEventually { store.upkeeps == 2 && clock.sleepers == 2 }
        #expect(try await store.extend(leases, visibility: .seconds(1000), now: clock.now()) == [leases[1]])
        await group.triggerGracefulShutdown()
        try await run.value
    }
}

/// A store of several processes whose first upkeep waits.
private final class SlowStore: WrappedStore {
    let base = MemoryStore(isShared: true)
    private let counts = Mutex((beats: 0, upkeeps: 0))
    private let end: AsyncStream<Void>
    private let endOfUpkeep: AsyncStream<Void>.Continuation

    var beats: Int { counts.withLock { $0.beats } }
    var upkeeps: Int { counts.withLock { $0.upkeeps } }

    init() { (end, endOfUpkeep) = AsyncStream.makeStream(of: Void.self) }

    func endUpkeep() { endOfUpkeep.finish() }

    func beat(process: String, now: Timestamp) async throws -> Int {
        defer { counts.withLock { $0.beats += 1 } }
        return try await base.beat(process: process, now: now)
    }

    func maintain(now: Timestamp) async throws -> Upkeep {
        counts.withLock { $0.upkeeps += 1 }
        for await _ in end {}
        return try await base.maintain(now: now)
    }
}
