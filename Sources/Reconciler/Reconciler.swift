package import Core
package import Logging
import ServiceLifecycle
import Synchronization

/// Applies what the store declares to the orchestrator: the present version of each API and how many replicas of it are
/// requested. The only part of the platform that changes what an orchestrator keeps running.
///
/// Level-triggered: a pass compares what the store declares with what the orchestrator has, and applies the difference.
/// Passes run on hints of the store, when a caller asks for one, and every ``interval``. They run one at a time, so an
/// older reading of the store never overwrites a newer one.
package actor Reconciler: Reconciling, Service {
    /// From the end of one regular pass to the beginning of the next.
    package static let interval: Duration = .seconds(5)
    /// How long to wait before a stream of hints that ended is opened again.
    static let reopening: Duration = .seconds(1)

    /// Finds the APIs that must not start on this machine, each with the reason.
    package typealias Check = @Sendable ([DeployedAPI]) async throws -> [String: String]

    /// What one pass looks at, and who waits for its end.
    private struct Pass {
        var isFull = false
        /// Looked at because of a hint.
        var hinted: Set<String> = []
        /// Looked at because a caller asked; what is not deployed of these is deleted, whether or not it is known here.
        var requested: Set<String> = []
        var waiting: [CheckedContinuation<(any Error)?, Never>] = []
    }

    /// A version that is deployed and must not start.
    private struct Hold {
        var version: String
        var reason: String
    }

    private let store: any Store
    private let orchestrator: any Orchestrator
    private let check: Check
    private let clock: any PlatformClock
    private let logger: Logger
    /// The id of the version that the orchestrator has, by API.
    private var applied: [String: String] = [:]
    private var next = Pass()
    private var isRunning = false
    private var isFailing = false
    private nonisolated let held = Mutex<[String: Hold]>([:])

    /// - Parameter check: asked once, by ``restore()``. Later versions are checked before they are stored.
    package init(
        store: any Store, orchestrator: any Orchestrator, clock: any PlatformClock, logger: Logger,
        check: @escaping Check = { _ in [:] }
    ) {
        self.store = store
        self.orchestrator = orchestrator
        self.check = check
        self.clock = clock
        self.logger = logger
    }

    /// Applies every deployed API for the first time in this process (contract S4). Call it once, before the
    /// orchestrator runs: a pod that belongs to no declared API is removed.
    ///
    /// - Throws: ``PlatformError`` `store_unavailable` when the store cannot be read; what the check throws.
    package func restore() async throws {
        let deployed = try await store.deployedAPIs()
        let reasons = try await check(deployed)
        for api in deployed {
            guard let reason = reasons[api.name] else { continue }
            logger.error("API not started", metadata: ["api": "\(api.name)", "reason": "\(reason)"])
            held.withLock { $0[api.name] = Hold(version: api.id, reason: reason) }
        }
        if let failure = await pass({ $0.isFull = true }) { throw failure }
    }

    /// Runs until shutdown; returns normally then.
    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup { group in
                group.addTask { await self.followHints() }
                group.addTask {
                    while !Task.isCancelled {
                        await self.reconcile { $0.isFull = true }
                        guard (try? await self.clock.sleep(for: Self.interval)) != nil else { return }
                    }
                }
            }
        }
    }

    private func followHints() async {
        while !Task.isCancelled {
            for await change in store.changes([.apis, .replicas]) {
                await reconcile { $0.hinted.formUnion(change.apis.union(change.replicas)) }
            }
            // The stream ended. The regular passes find what was missed.
            guard (try? await clock.sleep(for: Self.reopening)) != nil else { return }
        }
    }

    // MARK: Reconciling

    package func reconcile(_ api: String) async {
        await reconcile { $0.requested.insert(api) }
    }

    package func admit(_ api: String) async {
        held.withLock { $0[api] = nil }
        await reconcile(api)
    }

    package nonisolated func reasonHeldBack(_ api: String) -> String? { held.withLock { $0[api]?.reason } }

    // MARK: Passes

    /// The number of callers that wait for a pass that has not begun.
    var waitingCount: Int { next.waiting.count }

    /// Waits for a pass. A failure is logged once; the next regular pass tries again.
    private func reconcile(_ extend: @Sendable (inout Pass) -> Void) async {
        let failure = await pass(extend)
        defer { isFailing = failure != nil }
        guard let failure, !isFailing, !(failure is CancellationError) else { return }
        logger.warning(
            "cannot read what is deployed; replicas stay as they are until the store answers",
            metadata: ["error": "\(failure)"])
    }

    /// Waits for the end of a pass that begins after this call.
    ///
    /// - Parameter extend: adds to what that pass looks at.
    /// - Returns: the first failure of the pass; the other APIs were reconciled all the same.
    private func pass(_ extend: @Sendable (inout Pass) -> Void) async -> (any Error)? {
        extend(&next)
        return await withCheckedContinuation { continuation in
            next.waiting.append(continuation)
            guard !isRunning else { return }
            isRunning = true
            // A task of its own: several callers share a pass, and the cancellation of one must not end it.
            Task { await runPasses() }
        }
    }

    private func runPasses() async {
        while !next.waiting.isEmpty {
            let pass = next
            next = Pass()
            let failure = await perform(pass)
            for waiting in pass.waiting { waiting.resume(returning: failure) }
        }
        isRunning = false
    }

    private func perform(_ pass: Pass) async -> (any Error)? {
        do {
            let deployed = Dictionary(
                try await store.deployedAPIs().map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
            var names = pass.hinted.union(pass.requested)
            if pass.isFull { names.formUnion(deployed.keys.map { $0 } + applied.keys) }
            var failure: (any Error)?
            for name in names.sorted() {
                if let api = deployed[name], api.specification.hasReplicas {
                    do { try await apply(api) } catch { failure = failure ?? error }
                } else {
                    // Not deployed, or of a kind without replicas: an API of that name may have had some before.
                    held.withLock { $0[name] = nil }
                    let wasApplied = applied.removeValue(forKey: name) != nil
                    let isUnknown = deployed[name] == nil && pass.requested.contains(name)
                    if wasApplied || isUnknown { await orchestrator.delete(api: name) }
                }
            }
            return failure
        } catch {
            return error
        }
    }

    private func apply(_ api: DeployedAPI) async throws {
        let isHeld = held.withLock { held in
            guard held[api.name]?.version != api.id else { return true }
            held[api.name] = nil
            return false
        }
        guard !isHeld else { return }
        let replicas = api.replicas(requested: try await store.requestedReplicas(of: api.name))
        let status = await orchestrator.status(api: api.name)
        if let status, applied[api.name] == api.id {
            if status.requested != replicas { await orchestrator.scale(api: api.name, replicas: replicas) }
            return
        }
        if status == nil || applied[api.name] == nil {
            // Pods of an earlier process may run from any version.
            await orchestrator.recall(try await store.versions(of: api.name))
        }
        await orchestrator.apply(api, replicas: replicas)
        applied[api.name] = api.id
    }
}
