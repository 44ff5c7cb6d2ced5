package import ContainerHTTP
package import Core
package import Logging
package import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

/// The times of the dequeuer. The defaults are those of the contract.
package struct DequeuerConfiguration: Sendable, Hashable {
    /// How long a lease is valid (contract A10).
    package var lease: Duration
    /// How often leases are extended while the container works.
    package var leaseExtension: Duration
    /// The shortest and the longest time between two claims from an empty queue when no hint arrives.
    package var pollMin: Duration
    /// See ``pollMin``.
    package var pollMax: Duration
    /// How long requests in flight may continue after shutdown began. The leases of the rest are released
    /// (contract C13).
    package var grace: Duration
    /// How long an idle connection is kept. Shorter than the limits of servers (2 s and more), so that a request rarely
    /// meets a connection that is being closed.
    package var idleConnection: Duration
    /// Names this run of the process in the holders of its leases.
    package var process: String

    package init(
        lease: Duration = Limits.lease, leaseExtension: Duration = Limits.leaseExtension,
        pollMin: Duration = .seconds(1), pollMax: Duration = .seconds(5), grace: Duration = .seconds(60),
        idleConnection: Duration = .seconds(1), process: String = "process"
    ) {
        self.lease = lease
        self.leaseExtension = leaseExtension
        self.pollMin = pollMin
        self.pollMax = pollMax
        self.grace = grace
        self.idleConnection = idleConnection
        self.process = process
    }
}

/// Delivers queued requests to ready replicas, and batches to the workers of their jobs, and stores what the containers
/// answer: one ``ReplicaWorker`` per ready replica.
///
/// On graceful shutdown it claims nothing more. Requests in flight may continue for the configured grace; then they are
/// cancelled and their leases released.
package struct Dequeuer: Service {
    private let shared: WorkerContext
    private let readyReplicas: @Sendable () -> AsyncStream<[ReadyReplica]>
    private let group: any EventLoopGroup

    /// - Parameters:
    ///   - readyReplicas: opens the stream of the replicas that take requests (`Orchestrator.readyReplicas`).
    ///   - random: spreads delays, so that many workers do not return together.
    ///   - transport: makes the connections into containers.
    package init(
        store: any RequestQueue, readyReplicas: @escaping @Sendable () -> AsyncStream<[ReadyReplica]>,
        clock: any PlatformClock, random: any RandomNumberGenerator & Sendable, logger: Logger,
        configuration: DequeuerConfiguration = .init(),
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        transport: any ContainerTransport = SocketTransport()
    ) {
        self.shared = WorkerContext(
            store: store, clock: clock, chance: RandomSource(random), logger: logger, configuration: configuration,
            hub: ChangeHub(), transport: transport, outage: OutageLog(logger))
        self.readyReplicas = readyReplicas
        self.group = group
    }

    /// Takes the replicas from an orchestrator.
    package init(
        store: any RequestQueue, orchestrator: any Orchestrator, clock: any PlatformClock,
        random: any RandomNumberGenerator & Sendable, logger: Logger, configuration: DequeuerConfiguration = .init(),
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
        self.init(
            store: store, readyReplicas: { orchestrator.readyReplicas() }, clock: clock, random: random,
            logger: logger, configuration: configuration, group: group)
    }

    package func run() async throws {
        let roster = Roster()
        await withDiscardingTaskGroup { services in
            services.addTask { await shared.hub.run(shared.store, clock: shared.clock) }
            await withDiscardingTaskGroup { workers in
                for await replicas in readyReplicas().cancelOnGracefulShutdown() {
                    // The proxy serves the replicas of RealtimeAPIs, and nothing is sent to a task.
                    let queued = replicas.filter { [.async, .batch].contains($0.api.specification.kind.name) }
                    await follow(queued, roster, &workers)
                }
                // The stream also ends with its orchestrator. The dequeuer ends only when the platform shuts down.
                if !Task.isCancelled { try? await gracefulShutdown() }
                await drain(roster)
            }
            services.cancelAll()
        }
    }

    /// Starts and retires workers, so that there is one for each ready replica.
    private func follow(_ replicas: [ReadyReplica], _ roster: Roster, _ workers: inout DiscardingTaskGroup) async {
        let ready = Set(replicas.map(\.id))
        for worker in roster.all where !ready.contains(worker.id) { await worker.retire() }
        for replica in replicas {
            if let worker = roster[replica.id], await worker.offer(replica) { continue }
            let worker = ReplicaWorker(replica, loop: group.next(), shared: shared)
            roster.add(worker)
            workers.addTask {
                await worker.run()
                roster.remove(worker)
            }
        }
    }

    /// Waits until the requests in flight have ended, and cancels those that take too long. Returns when every worker
    /// has the order.
    private func drain(_ roster: Roster) async {
        for worker in roster.all { await worker.stop() }
        // No longer than the grace period of the pods (contract C13).
        let longest = roster.all.map(\.terminationGrace).max() ?? .zero
        let deadline = Task { [clock = shared.clock, grace = min(shared.configuration.grace, longest)] in
            _ = try? await clock.sleep(for: grace)
        }
        roster.whenEmpty { deadline.cancel() }
        await withTaskCancellationHandler {
            await deadline.value
        } onCancel: {
            deadline.cancel()
        }
        for worker in roster.all { await worker.cutOff() }
    }
}

/// The workers that have not ended.
private final class Roster: Sendable {
    private struct State {
        var workers: [String: ReplicaWorker] = [:]
        /// Replaced by a newer worker of the same replica, but not ended yet.
        var former: [ReplicaWorker] = []
        var whenEmpty: (@Sendable () -> Void)?
    }

    private let state = Mutex(State())

    var all: [ReplicaWorker] { state.withLock { Array($0.workers.values) + $0.former } }

    subscript(id: String) -> ReplicaWorker? { state.withLock { $0.workers[id] } }

    func add(_ worker: ReplicaWorker) {
        state.withLock { state in
            if let former = state.workers.updateValue(worker, forKey: worker.id) { state.former.append(former) }
        }
    }

    func remove(_ worker: ReplicaWorker) {
        let action = state.withLock { state -> (@Sendable () -> Void)? in
            if state.workers[worker.id] === worker { state.workers[worker.id] = nil }
            state.former.removeAll { $0 === worker }
            return state.workers.isEmpty && state.former.isEmpty ? state.whenEmpty : nil
        }
        action?()
    }

    /// Runs `action` when no worker is left, at once if there is none.
    func whenEmpty(_ action: @escaping @Sendable () -> Void) {
        let isEmpty = state.withLock { state -> Bool in
            state.whenEmpty = action
            return state.workers.isEmpty && state.former.isEmpty
        }
        if isEmpty { action() }
    }
}
