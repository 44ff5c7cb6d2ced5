import Core
import Support
import Synchronization
import TestSupport
import Testing

@testable import Dequeuer

@Suite("Replicas share a queue", .timeLimit(.minutes(2)))
struct ClaimGroupTests {
    /// Two ready replicas of one API, each with a container of its own. Nothing is found by polling.
    private final class Pair: Sendable {
        let platform: Platform
        let second: ReadyReplica
        /// The number of the container that read a request, for each request.
        private let served: Journal<Int>

        init(_ platform: Platform, port: Int, _ served: Journal<Int>) {
            self.platform = platform
            self.second = ReadyReplica(
                id: "api-2", api: platform.api, connector: LoopbackConnector(port: port),
                activity: LocalReplicaActivity())
            self.served = served
        }

        /// How many requests each container has read.
        var counts: [Int] { [1, 2].map { number in served.all.count { $0 == number } } }
        var inside: [Int] { [platform.activity.inFlight, second.activity.inFlight] }

        /// Waits until nothing is inside: a slot is free a moment after the result is stored.
        func rest() async throws { try await expectEventually { self.inside == [0, 0] } }

        /// Runs requests until both replicas have served one, so both workers have found the queue empty.
        func start() async throws {
            platform.ready.yield([platform.replica, second])
            for _ in 0..<100 where counts.contains(0) {
                _ = try await platform.run()
                try await rest()
            }
        }
    }

    private func with(
        _ concurrency: Int, gate: Gate? = nil,
        _ body: (Pair) async throws -> Void
    ) async throws {
        var settings = Platform.Settings()
        settings.maxConcurrency = concurrency
        settings.configuration.pollMin = .seconds(60)
        settings.configuration.pollMax = .seconds(60)
        let served = Journal<Int>()
        func container(_ number: Int) -> @Sendable (inout ContainerServer.Connection) async throws -> Void {
            { connection in
                while let request = try await connection.readRequest() {
                    served.append(number)
                    if request.head.contains("?wait"), let gate { await gate.wait() }
                    try await connection.answer("\(number)")
                }
            }
        }
        try await Platform.with(settings, container: container(1)) { platform, _ in
            try await ContainerServer.with(container(2)) { server in
                defer { gate?.open() }
                try await body(Pair(platform, port: server.port, served))
            }
        }
    }

    @Test("C11: sequential requests reach both of two ready replicas in turn, with one claim each", arguments: [1, 3])
    func sequential(_ concurrency: Int) async throws {
        try await with(concurrency) { pair in
            try await pair.start()
            let (counts, claims) = (pair.counts, pair.platform.store.claims)
            for _ in 0..<10 {
                #expect(try await pair.platform.run().status == .completed)
                try await pair.rest()
            }
            #expect(zip(pair.counts, counts).map { $0 - $1 } == [5, 5])
            #expect(pair.platform.store.claims - claims == 10)
        }
    }

    @Test("C11: a single replica claims for all its free slots, and once more when all were needed", arguments: [1, 3])
    func single(_ concurrency: Int) async throws {
        try await with(concurrency) { pair in
            _ = try await pair.platform.run()
            try await pair.rest()
            let claims = pair.platform.store.claims
            for _ in 0..<10 {
                #expect(try await pair.platform.run().status == .completed)
                try await pair.rest()
            }
            #expect(pair.platform.store.claims - claims == (concurrency == 1 ? 20 : 10))
        }
    }

    @Test("C11: requests that are claimed together are divided evenly, by one claim")
    func burst() async throws {
        try await with(5, gate: Gate()) { pair in
            try await pair.start()
            let claims = pair.platform.store.claims
            // The first claims fail, so the next one brings all of them.
            pair.platform.store.faults.withLock { $0.claims = 2 }
            for _ in 0..<6 { _ = try await pair.platform.submit(query: "wait") }
            // A claim under way reserves more slots, so this is awaited.
            try await expectEventually { pair.inside == [3, 3] }
            #expect(pair.platform.store.claims - claims == 3)
        }
    }

    @Test("C11: the replica with the fewest requests inside takes the next one")
    func fewest() async throws {
        try await with(4, gate: Gate()) { pair in
            for _ in 0..<3 { _ = try await pair.platform.submit(query: "wait") }
            try await expectEventually { pair.counts == [3, 0] }
            let claims = pair.platform.store.claims
            pair.platform.ready.yield([pair.platform.replica, pair.second])
            // The second worker has joined when one of them has looked again.
            try await expectEventually { pair.platform.store.claims > claims }
            for expected in [[3, 1], [3, 2], [3, 3], [4, 3], [4, 4]] {
                _ = try await pair.platform.submit(query: "wait")
                try await expectEventually { pair.counts.reduce(0, +) == expected.reduce(0, +) }
                #expect(pair.counts == expected)
            }
        }
    }

    @Test("C11, C13: replicas that drain or become unready at any moment lose nothing and hold nothing up")
    func drains() async throws {
        try await with(2) { pair in
            try await pair.start()
            let (ready, first, second) = (pair.platform.ready, pair.platform.replica, pair.second)
            var generator = SeededGenerator(seed: 3)
            var ids: [RequestID] = []
            for _ in 0..<60 {
                ids.append(try await pair.platform.submit())
                switch Int.random(in: 0...3, using: &generator) {
                case 0: ready.yield([first])
                case 1: ready.yield([second])
                case 2: ready.yield([])
                default: break
                }
                if Int.random(in: 0...2, using: &generator) == 0 { ids.append(try await pair.platform.submit()) }
                ready.yield([first, second])
            }
            for id in ids {
                let record = try await pair.platform.end(of: id)
                #expect(record.status == .completed && record.attempts == 1)
            }
            // Closed, but still listed as ready: the orchestrator has begun to drain it.
            second.activity.close()
            let counts = pair.counts
            for _ in 0..<5 { #expect(try await pair.platform.run().status == .completed) }
            #expect(zip(pair.counts, counts).map { $0 - $1 } == [5, 0])
        }
    }

    @Test("A10, C13: what a replica gives back is claimed at once by another one that has a free slot")
    func givenBack() async throws {
        try await with(1, gate: Gate()) { pair in
            try await pair.start()
            let id = try await pair.platform.submit(query: "wait")
            try await expectEventually { pair.inside.reduce(0, +) == 1 }
            let isFirst = pair.inside == [1, 0]
            (isFirst ? pair.platform.activity : pair.second.activity).cut()
            // The slot of a claim under way counts as inside, so the request's status is awaited too.
            try await expectEventually {
                let isElsewhere = pair.inside == (isFirst ? [0, 1] : [1, 0])
                return try await pair.platform.read(id).status == .inProgress && isElsewhere
            }
        }
    }

    @Test("A11: retries are claimed when they are due, however many, and although hints came before")
    func retries() async throws {
        var settings = Platform.Settings()
        settings.configuration.pollMin = .seconds(60)
        settings.configuration.pollMax = .seconds(60)
        settings.maxConcurrency = 8
        settings.requests.retries = RetryPolicy(on: [.status5xx], backoff: .milliseconds(40))
        try await Platform.with(settings) { connection in
            while let request = try await connection.readRequest() {
                let isEarly = request.head.contains("?early")
                try await connection.answer("1", status: isEarly ? "503 Busy" : "200 OK")
            }
        } _: { platform, _ in
            var ids: [RequestID] = []
            for _ in 0..<8 { ids.append(try await platform.submit(query: "early")) }
            for id in ids {
                let record = try await platform.end(of: id)
                #expect(record.status == .failed && record.attempts == 3)
            }
        }
    }

    // MARK: Without workers

    private let now = Instant(seconds: 1_000_000)

    private func group(
        _ count: Int, slots: Int, _ signals: [WorkerSignal] = []
    ) -> (group: ClaimGroup, replicas: [ReadyReplica], ids: [Int]) {
        var settings = Platform.Settings()
        settings.maxConcurrency = slots
        let api = Platform.api(settings)
        let group = ClaimGroup(pollMin: .seconds(60), pollMax: .seconds(60), now: now)
        let replicas = (1...count).map {
            ReadyReplica(
                id: "api-\($0)", api: api, connector: LoopbackConnector(port: 1), activity: LocalReplicaActivity())
        }
        let ids = replicas.enumerated().map { index, replica in
            group.join(signals.isEmpty ? WorkerSignal() : signals[index], replica, now: now)
        }
        return (group, replicas, ids)
    }

    private func requests(_ count: Int) -> [ClaimedRequest] {
        var generator = SeededGenerator(seed: 5)
        return (0..<count).map { _ in
            let id = RequestID(now: Timestamp(seconds: 1), using: &generator)
            return ClaimedRequest(
                lease: Lease(api: "api", id: id, token: 1), payload: .empty, headers: [], query: nil, attempts: 0,
                submittedAt: Timestamp(seconds: 1))
        }
    }

    @Test("C11: one claim reserves every free slot, and what it does not bring is free again")
    func reserves() throws {
        let (group, replicas, ids) = group(2, slots: 3)
        #expect(replicas[1].activity.begin(upTo: 1, maxConcurrency: 3) == 1)
        let claim = try #require(group.step(ids[0], replicas[0], isOpen: true, now: now).claim)
        #expect(claim.asked == 5 && claim.holder == "api-1")
        #expect(replicas.map(\.activity.inFlight) == [3, 3])
        #expect(group.step(ids[1], replicas[1], isOpen: true, now: now).claim == nil)
        let division = group.claimed(claim, by: ids[0], requests(3), now: now, chance: 0.5)
        #expect(division.own.count == 2 && division.handedOver.map(\.replica) == ["api-2"])
        #expect(replicas.map(\.activity.inFlight) == [2, 2])
        #expect(!group.leave(ids[1], now: now))
        #expect(group.step(ids[1], replicas[1], isOpen: true, now: now).arrivals.count == 1)
        #expect(group.leave(ids[1], now: now))
    }

    @Test("C7, C13: what was claimed for a replica that closes meanwhile goes to another, or else back to the queue")
    func closes() throws {
        let (group, replicas, ids) = group(2, slots: 2)
        let claim = try #require(group.step(ids[0], replicas[0], isOpen: true, now: now).claim)
        group.close(ids[0])
        let division = group.claimed(claim, by: ids[0], requests(3), now: now, chance: 0.5)
        #expect(division.own.map(\.isReturned) == [true])
        #expect(group.step(ids[1], replicas[1], isOpen: true, now: now).arrivals.count == 2)
        #expect(replicas.map(\.activity.inFlight) == [1, 2])
    }

    @Test("C11: a worker whose replica is closed claims for the others, so nothing waits until they step")
    func claimsForOthers() throws {
        let (group, replicas, ids) = group(2, slots: 1)
        let claim = try #require(group.step(ids[0], replicas[0], isOpen: false, now: now).claim)
        #expect(claim.asked == 1 && claim.holder == "api-2")
        let division = group.claimed(claim, by: ids[0], requests(1), now: now, chance: 0.5)
        #expect(division.own.isEmpty && division.handedOver.isEmpty)
        #expect(group.step(ids[1], replicas[1], isOpen: true, now: now).arrivals.count == 1)
    }

    @Test("C11: one claim never takes more than its limit, which single replicas do not feel")
    func limit() throws {
        let (one, alone, id) = group(1, slots: 1000)
        #expect(one.step(id[0], alone[0], isOpen: true, now: now).claim?.asked == 1000)
        let (many, replicas, ids) = group(4, slots: 1000)
        #expect(many.step(ids[0], replicas[0], isOpen: true, now: now).claim?.asked == 1000)
        #expect(replicas.map(\.activity.inFlight) == [250, 250, 250, 250])
    }

    @Test("C11: a hint wakes only the worker whose replica comes first; one that leaves wakes another")
    func wakes() async throws {
        let signals = [WorkerSignal(), WorkerSignal()]
        let (group, pair, ids) = group(2, slots: 2, signals)
        // The first has one inside, so the second comes first.
        let claim = try #require(group.step(ids[0], pair[0], isOpen: true, now: now).claim)
        _ = group.claimed(claim, by: ids[0], requests(1), now: now, chance: 0.5)
        group.hint(now: now)
        #expect(await signals[1].next().contains(.state))
        #expect(group.leave(ids[1], now: now))
        // It steps instead: the hint is not lost.
        #expect(await signals[0].next().contains(.state))
        #expect(group.step(ids[0], pair[0], isOpen: true, now: now).claim?.asked == 1)
    }
}
