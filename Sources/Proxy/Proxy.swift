import ContainerHTTP
package import Core
package import HTTPServing
package import Logging
import NIOCore
import ServiceLifecycle
import Synchronization

/// Serves RealtimeAPIs and TrafficSplitters: the requests that the gateway passes on go to ready replicas (contract R,
/// X). Its own work is to follow which APIs are deployed and which replicas are ready, and what depends on time.
package final class Proxy: Service {
    /// How often what depends on time is looked at.
    private static let period: Duration = .milliseconds(100)
    /// How often samples are taken, obstacles are looked for, and idle connections are closed.
    private static let second: Duration = .seconds(1)
    /// How often callers that receive are looked at.
    private static let callerCheck: Duration = .seconds(10)

    private struct State {
        var endpoints: [String: RealtimeEndpoint] = [:]
        var splitters: [String: SplitterEndpoint] = [:]
        /// The ready replicas by API, as last reported.
        var ready: [String: [ReadyReplica]] = [:]
        /// When the shutdown began.
        var stopping: Instant?
    }

    private let store: any Store
    private let orchestrator: any Orchestrator
    private let makeSeed: @Sendable () -> UInt64
    private let services: ProxyServices
    private let logger: Logger
    private let state = Mutex(State())
    private let arrivalStreams = Mutex<[UInt64: AsyncStream<Set<String>>.Continuation]>([:])

    /// - Parameters:
    ///   - makeSeed: begins the random order in which a splitter chooses its targets.
    ///   - makeID: a new request's id.
    package init(
        store: any Store, orchestrator: any Orchestrator, clock: any PlatformClock, logger: Logger,
        makeSeed: @escaping @Sendable () -> UInt64,
        makeID: @escaping @Sendable (Timestamp) -> RequestID
    ) {
        self.store = store
        self.orchestrator = orchestrator
        self.makeSeed = makeSeed
        self.logger = logger
        self.services = ProxyServices(
            clock: clock, loops: ProxyLoops(clock: clock), transport: SocketTransport(), makeID: makeID)
    }

    private var clock: any PlatformClock { services.clock }

    // MARK: APIs

    /// Takes over what is deployed now: changes the rules of known APIs, and refuses the waiting requests of those that
    /// are gone.
    ///
    /// - Parameter deployed: all deployed APIs, of any kind.
    /// - Returns: the handlers by API.
    /// - Throws: ``PlatformError`` `store_unavailable` when the state of a new splitter cannot be read.
    package func update(_ deployed: [DeployedAPI]) async throws -> [String: any ExchangeHandler] {
        let saved = try await savedStates(deployed)
        var handlers: [String: any ExchangeHandler] = [:]
        let gone = state.withLock { state -> [RealtimeEndpoint] in
            var endpoints: [String: RealtimeEndpoint] = [:]
            for api in deployed {
                guard case .realtime(let specification) = api.specification.kind else { continue }
                let endpoint =
                    state.endpoints[api.name]
                    ?? RealtimeEndpoint(api, specification, services: services) { [weak self] in
                        self?.arrived(api.name)
                    }
                if state.endpoints[api.name] == nil {
                    endpoint.update(replicas: state.ready[api.name] ?? [])
                } else {
                    endpoint.update(api, specification)
                }
                endpoints[api.name] = endpoint
                handlers[api.name] = endpoint
            }
            var splitters: [String: SplitterEndpoint] = [:]
            for api in deployed {
                guard case .trafficSplitter(let specification) = api.specification.kind else { continue }
                let names = Set(specification.targets.map(\.api))
                let targets = endpoints.filter { names.contains($0.key) }
                let splitter: SplitterEndpoint
                if let known = state.splitters[api.name] {
                    known.update(api, specification, targets: targets)
                    splitter = known
                } else {
                    let new = SplitterState(
                        api, specification, saved: saved[api.name], store: store, clock: clock, seed: makeSeed(),
                        logger: logger)
                    splitter = SplitterEndpoint(
                        api, specification, splitter: new, targets: targets, services: services)
                }
                splitters[api.name] = splitter
                handlers[api.name] = splitter
            }
            let gone = state.endpoints.values.filter { endpoints[$0.name] == nil }
            state.endpoints = endpoints
            state.splitters = splitters
            return gone
        }
        for endpoint in gone {
            endpoint.gate.close(.deleted)
            // Idle connections are closed; requests that are inside finish.
            endpoint.update(replicas: [])
        }
        return handlers
    }

    /// What the store has of the splitters that are not known here.
    private func savedStates(_ deployed: [DeployedAPI]) async throws -> [String: SplitState] {
        let known = state.withLock { Set($0.splitters.keys) }
        var saved: [String: SplitState] = [:]
        for api in deployed where !known.contains(api.name) {
            guard case .trafficSplitter = api.specification.kind else { continue }
            saved[api.name] = try await store.splitState(of: api.name)
        }
        return saved
    }

    /// Ends the roll-back of a splitter's target; without effect where there is none (contract X8).
    package func resume(split name: String) async throws {
        _ = try await state.withLock { $0.splitters[name] }?.splitter.resume()
    }

    private var endpoints: [RealtimeEndpoint] { state.withLock { Array($0.endpoints.values) } }

    // MARK: Service

    /// Runs until graceful shutdown. The gateway must have ended before.
    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.followReplicas() }
                group.addTask { await self.keepTime() }
            }
        }
    }

    /// A shutdown begins: requests that wait are refused after a time, and those inside are cut off at the end of their
    /// API's grace period (contract R17).
    package func beginShutdown() {
        let now = clock.instant()
        state.withLock { $0.stopping = $0.stopping ?? now }
    }

    private func followReplicas() async {
        for await replicas in orchestrator.readyReplicas() {
            var ready: [String: [ReadyReplica]] = [:]
            for replica in replicas {
                guard case .realtime = replica.api.specification.kind else { continue }
                ready[replica.api.name, default: []].append(replica)
            }
            let endpoints = state.withLock { state in
                state.ready = ready
                return Array(state.endpoints.values)
            }
            for endpoint in endpoints { endpoint.update(replicas: ready[endpoint.name] ?? []) }
        }
    }

    private func keepTime() async {
        var nextSecond = clock.instant()
        var nextCheck = clock.instant()
        // Only cancellation makes the sleep throw.
        while (try? await clock.sleep(for: Self.period)) != nil {
            let now = clock.instant()
            let (endpoints, splitters, stopping) = state.withLock {
                (Array($0.endpoints.values), Array($0.splitters.values), $0.stopping)
            }
            for endpoint in endpoints { endpoint.gate.tick(now: now) }
            if let stopping { stop(endpoints, since: stopping, now: now) }
            guard now >= nextSecond else { continue }
            // Seconds that were missed have no sample (contract R19).
            nextSecond = max(nextSecond + Self.second, now)
            for endpoint in endpoints {
                endpoint.takeSample(now: now)
                endpoint.closeIdleConnections(now: now)
                await lookForObstacle(endpoint)
            }
            for splitter in splitters { await splitter.splitter.tick() }
            guard now >= nextCheck else { continue }
            nextCheck = now + Self.callerCheck
            services.loops.forEachExchange { $0.checkCaller() }
        }
    }

    private func stop(_ endpoints: [RealtimeEndpoint], since: Instant, now: Instant) {
        for endpoint in endpoints {
            if now >= since + Limits.proxyShutdownWait { endpoint.gate.close(.shutdown) }
            if now >= since + endpoint.policy.terminationGracePeriod { endpoint.cutAll() }
        }
    }

    /// Where no replica is ready, finds out whether one can become ready (contract R21).
    private func lookForObstacle(_ endpoint: RealtimeEndpoint) async {
        guard !endpoint.hasReplica else { return }
        guard let status = await orchestrator.status(api: endpoint.name) else { return }
        endpoint.gate.setObstacle(StartObstacle.find(in: status))
    }

    // MARK: Arrivals

    /// A request waits and no replica is ready.
    private func arrived(_ api: String) {
        let streams = arrivalStreams.withLock { Array($0.values) }
        for stream in streams { stream.yield([api]) }
    }
}

extension Proxy: TrafficSource {
    package func traffic(of api: String) -> TrafficReport? {
        state.withLock { $0.endpoints[api] }?.gate.report(now: clock.instant())
    }

    package func split(of splitter: String) -> SplitReport? {
        state.withLock { $0.splitters[splitter] }?.splitter.report(now: clock.instant())
    }
}

extension Proxy: LoadSource {
    package func load() async throws -> [String: APILoad] {
        let now = clock.instant()
        return Dictionary(uniqueKeysWithValues: endpoints.map { ($0.name, $0.load(now: now)) })
    }

    package func arrivals() -> any AsyncSequence<Set<String>, Never> & Sendable {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Set<String>.self, bufferingPolicy: .bufferingNewest(1024))
        let key = UInt64.random(in: 0...UInt64.max)
        arrivalStreams.withLock { $0[key] = continuation }
        continuation.onTermination = { [weak self] _ in
            _ = self?.arrivalStreams.withLock { $0.removeValue(forKey: key) }
        }
        return stream
    }
}

/// Why no replica of an API can become ready (contract R21). Pure.
enum StartObstacle {
    /// - Returns: the refusal for requests; `nil` when a replica is starting, or none was requested.
    static func find(in status: APIStatus) -> GateRefusal? {
        guard status.ready == 0, let newest = status.replicas.last(where: { $0.state != .terminating }) else {
            return status.replicas.isEmpty ? status.reason.map { .noReplica(reason: $0, retryAfter: 1) } : nil
        }
        let isStuck =
            switch newest.state {
            case .errImagePull, .stalled: true
            // It waits for space on the machine.
            case .pending: newest.reason != nil
            // Without an exit it could not be started at all.
            case .failed: newest.exitsInRow != 1
            case .killed, .killedOOM, .notReady: newest.exitsInRow >= 2
            case .creating, .ready, .readyOutOfDate, .terminating, .unknown: false
            }
        guard isStuck else { return nil }
        let reason = newest.reason ?? status.reason ?? "the replica is \(newest.state.rawValue)"
        return .noReplica(
            reason: "no replica can start: \(reason)", retryAfter: newest.nextStart.map(wholeSeconds) ?? 1)
    }

    /// Rounded up, within what `Retry-After` says (contract R16).
    private static func wholeSeconds(_ time: Duration) -> Int {
        min(60, max(1, Int((time.wholeMicroseconds + 999_999) / 1_000_000)))
    }
}
