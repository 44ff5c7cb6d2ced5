import Core
import Dequeuer
import Logging
import NIOEmbedded
import StoreMemory
import TestSupport

/// A violated rule.
struct Violation: Sendable {
    var clause: String
    var text: String
    var at: Duration
}

/// One seed's world: the real platform on the memory store, with pods, callers, faults and a clock that depend on the
/// seed.
///
/// `@unchecked Sendable`: confined to its own thread, see `Schedule`.
final class World: @unchecked Sendable {
    let scenario: Scenario
    let schedule: Schedule
    let clock: SimulatedClock
    let dice: Dice
    let history: History
    let ledger: Ledger
    let memory = MemoryStore()
    let embedded = EmbeddedEventLoop()
    private(set) lazy var engine = SimulatedEngine(self)
    private(set) var platform: PlatformRun?
    private(set) var violation: Violation?
    /// There are no more faults, and containers answer soon.
    private(set) var isCalm = false
    var isStoreOut = false
    var replicas: Int
    var version = 1
    private var runs = 0
    private var podCount = 0
    /// The number of callers and other actors that are still active.
    private var busy = 0
    private(set) var hasEnded = false

    init(_ scenario: Scenario, keepsHistory: Bool) {
        self.scenario = scenario
        schedule = Schedule(seed: scenario.seed)
        clock = SimulatedClock(schedule)
        dice = Dice(seed: scenario.seed)
        history = History(schedule, isKept: keepsHistory)
        ledger = Ledger(history, schedule, policy: scenario.policy)
        replicas = scenario.replicas
        ledger.onViolation = { [unowned self] in fail($0, $1) }
        ledger.watchCancelled = { [unowned self] id in
            guard scenario.storeIsGood else { return }
            // Without a hint, the next extension of the lease reports it.
            schedule.after(.seconds(12)) { [self] in
                let isInside = engine.links.contains { $0.present?.id == id && !$0.door.isDead }
                ledger.expect(
                    !isInside, "A7", "\(ledger.name(id)) was cancelled 12 s ago, and a container still works on it")
            }
        }
        ledger.isAtWork = { [unowned self] known, id in
            guard scenario.storeIsGood else { return false }
            return engine.pods[known.holder]?.links.contains { $0.present?.id == id && !$0.door.isDead } ?? false
        }
    }

    /// Steps of one seed; far more than any needs.
    static let stepLimit = 400_000
    /// The time after the faults by which every request must have ended.
    static let longestRun: Duration = .seconds(1800)

    /// Runs the seed on the calling thread.
    func run() -> Violation? {
        schedule.soon { [self] in go { [self] in await main() } }
        schedule.run(limit: Self.stepLimit)
        if !hasEnded, violation == nil {
            fail(
                "every request ends",
                schedule.steps >= Self.stepLimit ? "the world does not become idle" : "nothing is left to happen")
        }
        if violation != nil {
            // Suspended tasks keep references to the rest of the world, so it is not released.
            _ = Unmanaged.passRetained(self)
        }
        // The platform keeps a reference to its world.
        platform = nil
        return violation
    }

    func fail(_ clause: String, _ text: String) {
        guard violation == nil else { return }
        violation = Violation(clause: clause, text: text, at: .microseconds(schedule.elapsed))
        history.note("VIOLATION", "\(clause): \(text)")
        schedule.isStopped = true
    }

    /// A channel was closed: its loop has to clean up.
    func stir() {
        schedule.soon { [self] in embedded.run() }
    }

    // MARK: Tools

    /// Starts a task for which the end of the world waits.
    func go(_ work: @escaping @Sendable () async -> Void) {
        busy += 1
        Task { [self] in
            await work()
            busy -= 1
        }
    }

    func pause(_ duration: Duration) async {
        await withCheckedContinuation { continuation in
            schedule.after(duration) { continuation.resume() }
        }
    }

    func nextPod() -> String {
        podCount += 1
        return "p\(podCount)"
    }

    func logger(_ run: String) -> Logger {
        Logger(label: run) { _ in HistoryLog(run: run, history: self.history, ledger: self.ledger) }
    }

    func deployedAPI() -> DeployedAPI {
        DeployedAPI(
            specification: scenario.specification(), id: "\(version)", specID: "\(version)", podID: "\(version)",
            deploymentID: "\(version)", initialDeployment: clock.now(), lastUpdated: clock.now())
    }

    func startPlatform() async {
        runs += 1
        let platform = PlatformRun(self, number: runs)
        self.platform = platform
        await platform.start()
    }

    // MARK: The course of events

    private func main() async {
        history.note("operator", "deploys the API, \(replicas) replicas of \(scenario.maxConcurrency)")
        try? await memory.deploy(deployedAPI(), now: clock.now())
        try? await memory.saveRequestedReplicas(replicas, of: "api")
        go { [self] in
            await startPlatform()
            await wreak()
        }
        for (index, call) in scenario.calls.enumerated() {
            go { [self] in await Caller(world: self, call: call, number: index + 1).run() }
        }
        await pause(scenario.calmAt)
        await calm()
        if scenario.seed % 3 == 0 { await checkTimes() }
        await waitForEnds()
        await platform?.shutDown()
        await checkEnds()
        history.note("world", "ends")
        engine.closeAll()
        hasEnded = true
    }

    private func calm() async {
        history.note("world", "has no faults from here on")
        isCalm = true
        isStoreOut = false
        // Without a replica no request can be served.
        await scale(to: max(1, replicas))
    }

    /// Requests of dead workers return in time, and containers detect that a request is no longer needed (contract A10,
    /// A7).
    private func checkTimes() async {
        // The longest lease, the rescuer's period and its longest delay after a failure, and two claims.
        await pause(.seconds(45))
        let now = clock.now()
        for known in ledger.open where known.status == .inProgress {
            ledger.expect(
                known.leaseEnd.map { now < $0 + .seconds(6) } ?? false, "A10",
                "\(known.name) is still with \(known.holder), whose lease is over")
        }
        for pod in engine.order {
            for link in pod.links {
                guard let exchange = link.present, let known = ledger[exchange.id] else { continue }
                let isIts = known.status == .inProgress && known.holder == pod.id
                ledger.expect(
                    isIts || schedule.elapsed - known.changedAt < 16_000_000, "A7",
                    "\(known.name) is \(known.status.rawValue), and \(pod.id) still works on it")
            }
        }
    }

    private func waitForEnds() async {
        let deadline = schedule.elapsed + Self.longestRun.wholeMicroseconds + abs(clock.offset.wholeMicroseconds)
        while !ledger.open.isEmpty || busy > 1 {
            guard schedule.elapsed < deadline else {
                let names = ledger.open.map { "\($0.name) (\($0.status.rawValue))" }
                return fail("every request ends", "\(names.joined(separator: ", ")) did not; \(busy - 1) are at work")
            }
            await pause(.seconds(1))
        }
    }

    /// The invariants at the end.
    private func checkEnds() async {
        let store = SimulatedStore(self, run: "auditor")
        for id in ledger.order {
            guard let known = ledger[id], !known.isGone else { continue }
            guard let record = try? await store.read(id, api: "api", now: clock.now()) else { continue }
            ledger.expect(record.status.isEnded, "every request ends", "\(known.name) is \(record.status.rawValue)")
            guard record.status == .completed, let body = record.result else { continue }
            do {
                let reader = try await store.reader(of: body)
                var bytes: [UInt8] = []
                while let piece = try await reader.read(upTo: 1 << 20) { bytes += piece }
                ledger.checkAnswer(bytes, of: id)
            } catch {
                fail("A1", "\(known.name)'s result cannot be read: \(error)")
            }
        }
        for pod in engine.order {
            ledger.expect(pod.inside == 0, "C11", "\(pod.inside) requests are left in \(pod.id)")
        }
    }
}

/// The platform's log as part of the history. The ledger learns from it for which replica a request was claimed if that
/// is not the claim's holder.
private struct HistoryLog: LogHandler {
    let run: String
    let history: History
    let ledger: Ledger
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.debug

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        if let text = event.metadata?["request"], let token = event.metadata?["lease"],
            let replica = event.metadata?["replica"], let id = RequestID("\(text)"), let token = Int64("\(token)")
        {
            ledger.handedOver(id, token: token, to: "\(replica)")
        }
        guard history.isKept else { return }
        let details = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
        history.note(run, "[\(event.level)] \(event.message)\(details)")
    }
}
