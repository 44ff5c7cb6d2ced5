package import ContainerHTTP
package import Core
package import Logging
package import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

/// Brings queued requests into ready replicas, and what their containers answer back into the store: one
/// ``ReplicaWorker`` per ready replica.
///
/// On graceful shutdown nothing new is claimed; what is inside containers may go on for the configured grace and is
/// then given back.
package struct Dequeuer: Service {
    private let shared: ReplicaWorker.Shared
    private let readyReplicas: @Sendable () -> AsyncStream<[ReadyReplica]>
    private let group: any EventLoopGroup

    /// - Parameters:
    ///   - readyReplicas: makes the stream of the replicas that take requests (`Orchestrator.readyReplicas`).
    ///   - random: spreads waits, so that many workers don't come back together.
    ///   - transport: what connections into containers are made of.
    package init(
        store: any RequestQueue, readyReplicas: @escaping @Sendable () -> AsyncStream<[ReadyReplica]>,
        clock: any PlatformClock, random: any RandomNumberGenerator & Sendable, logger: Logger,
        configuration: DequeuerConfiguration = .init(),
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        transport: any ContainerTransport = SocketTransport()
    ) {
        self.shared = ReplicaWorker.Shared(
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
                    await follow(replicas, roster, &workers)
                }
                // The stream also ends with its orchestrator; that alone is no reason to end.
                if !Task.isCancelled { try? await gracefulShutdown() }
                await drain(roster)
            }
            services.cancelAll()
        }
    }

    /// Makes the workers fit the ready replicas.
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

    /// Lets what is inside containers end, and cancels what does not in time. Returns when every worker has the order.
    private func drain(_ roster: Roster) async {
        for worker in roster.all { await worker.stop() }
        // No longer than the pods themselves have (contract C13).
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
        for worker in roster.all { await worker.breakOff() }
    }
}

/// The workers that have not ended.
private final class Roster: Sendable {
    private struct State {
        var workers: [String: ReplicaWorker] = [:]
        /// Replaced by a newer one of the same replica, but not yet gone.
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

    /// Runs `action` when no worker is left; at once if none is.
    func whenEmpty(_ action: @escaping @Sendable () -> Void) {
        let isEmpty = state.withLock { state -> Bool in
            state.whenEmpty = action
            return state.workers.isEmpty && state.former.isEmpty
        }
        if isEmpty { action() }
    }
}
