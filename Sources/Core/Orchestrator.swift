/// Keeps the declared replicas running; declarative and level-triggered.
package protocol Orchestrator: Sendable {
    /// Refuses what this machine or its engine cannot do, before anything is deployed: one line per problem, empty when
    /// all is well.
    func problems(with specification: APISpecification) async -> [String]

    /// Hands over the versions of one API from which pods of an earlier process may run, newest first. Call it before
    /// the first `apply` of that API.
    ///
    /// A pod that is found is probed, restarted, drained and offered by the version from which it was started, not by
    /// the declared one (contract S3).
    func recall(_ versions: [DeployedAPI]) async

    /// Declares an API's version and how many replicas of it should run. Returns at once; the work goes on in the
    /// background.
    func apply(_ api: DeployedAPI, replicas: Int) async

    /// Changes only the number.
    func scale(api: String, replicas: Int) async

    /// Stops and removes all replicas of an API. Returns when the declaration is gone; the replicas drain in the
    /// background.
    func delete(api: String) async

    /// `nil` for an API that was never applied.
    func status(api: String) async -> APIStatus?

    /// What the machine has for replicas and what they have taken; `nil` where that is not known.
    func capacity() async -> Capacity?

    /// Lines of all replicas, or of those that `options` names. They end when everything was read; with `follow`, when
    /// the API is deleted.
    ///
    /// Several containers are read side by side, so the reader's `write` is called by several tasks at once.
    /// A container whose log cannot be read ends alone, with a line that says so.
    ///
    /// - Throws: `not_found` when there is no such API, replica or container.
    func logs(api: String, options: LogOptions) async throws -> LogStream<ReplicaLogBatch>

    /// Declares a set of replicas: those of an API, or the workers of a Batch job (contract B12). Returns at once.
    ///
    /// A job's set is declared again after a restart of the platform, before the orchestrator first lists its pods:
    /// workers that still run are adopted. Declare it with the released workers of before.
    func apply(_ set: ReplicaSet) async

    /// Stops a worker for good: it gets no further batch, ends as contract C13 says, and is not started again.
    func release(worker index: Int, of set: String) async

    /// Stops and removes all replicas of a set, as ``delete(api:)`` does for an API. ``workers(of:)`` is empty when
    /// they are gone.
    func delete(set: String) async

    /// Every worker of a job's set that was declared or whose pod still exists, in the order of the indexes. Those of
    /// an earlier process are missing until ``hasListedPods()``.
    func workers(of set: String) async -> [WorkerStatus]

    /// Whether the pods that an earlier process of the platform left are known.
    func hasListedPods() async -> Bool

    /// Whether a pod exists that runs a version of this API: a replica, a worker of a Batch job or a run of a task. A
    /// pod that is being stopped exists until it is removed.
    func hasPod(_ id: String, of api: String) async -> Bool

    /// The replicas that take requests, whenever that changes; the present ones first.
    ///
    /// A replica that is missing from the newest element gets no further request; those inside it go on until they end
    /// or its activity is cut.
    func readyReplicas() -> AsyncStream<[ReadyReplica]>
}

extension Orchestrator {
    package func apply(_ set: ReplicaSet) async { await apply(set.api, replicas: set.count) }

    package func release(worker index: Int, of set: String) async {}

    package func delete(set: String) async { await delete(api: set) }

    package func workers(of set: String) async -> [WorkerStatus] { [] }

    package func hasListedPods() async -> Bool { true }

    package func hasPod(_ id: String, of api: String) async -> Bool {
        await status(api: api)?.replicas.contains { $0.id == id } ?? false
    }

    package func recall(_ versions: [DeployedAPI]) async {}

    package func capacity() async -> Capacity? { nil }
}

/// Applies what the store declares to an orchestrator. A change is written to the store first and applied from there.
package protocol Reconciling: Sendable {
    /// Applies what the store declares of one API: its present version and requested replicas, or that it is deleted.
    ///
    /// Returns when the orchestrator has it. Where the store cannot be read, that is logged and tried again within
    /// seconds. Does not heed cancellation.
    func reconcile(_ api: String) async

    /// The same for an API whose present version was just checked: it may start although it was held back before.
    func admit(_ api: String) async

    /// Why a deployed API is not started; `nil` for one that is.
    func reasonHeldBack(_ api: String) -> String?
}

/// How much work APIs have at a moment. The loads of several sources add up.
package protocol LoadSource: Sendable {
    /// The load by API. An API that is missing is unknown to this source.
    ///
    /// - Throws: when the load cannot be read. It is then unknown, not zero.
    func load() async throws -> [String: APILoad]

    /// Names of APIs whenever requests arrive for them, from now on. Hints: they may be late, merged or lost, and the
    /// sequence may end.
    func arrivals() -> any AsyncSequence<Set<String>, Never> & Sendable
}

/// The requests of an API that wait or are being worked on.
package struct APILoad: Sendable, Hashable {
    /// At this moment.
    package var now: Int
    /// On average over the last seconds, where a source knows it; otherwise the same as `now`.
    package var mean: Double

    package init(now: Int, mean: Double) {
        self.now = now
        self.mean = mean
    }

    package init(_ now: Int) { self.init(now: now, mean: Double(now)) }

    package static func + (left: APILoad, right: APILoad) -> APILoad {
        APILoad(now: left.now + right.now, mean: left.mean + right.mean)
    }
}

/// A replica whose readiness probes pass. An object, because every request that it gets refers to it.
package final class ReadyReplica: Sendable {
    package let id: String
    package let api: DeployedAPI
    /// The queue whose requests it takes: the API's name, or the queue of a Batch job.
    package let queue: String
    /// `nil` for a replica of an API.
    package let worker: PodOwner.Worker?
    package let connector: any Connector
    package let activity: any ReplicaActivity
    /// What every request needs of the declaration. To read it there would copy all of the declaration.
    package let requests: RequestPolicy
    package let port: Int
    package let maxConcurrency: Int

    package init(
        id: String, api: DeployedAPI, worker: PodOwner.Worker? = nil, connector: any Connector,
        activity: any ReplicaActivity
    ) {
        self.id = id
        self.api = api
        self.queue = worker?.set ?? api.name
        self.worker = worker
        self.connector = connector
        self.activity = activity
        self.requests = api.specification.requests
        let pod = api.specification.pod
        self.port = pod.port
        self.maxConcurrency = pod.maxConcurrency
    }
}

/// The way into a pod.
package protocol Connector: Sendable {
    /// Connects to `127.0.0.1:port` inside the pod's network namespace.
    ///
    /// - Returns: the descriptor of a connected stream socket. It is the caller's to close.
    /// - Throws: ``PlatformError`` `connection_failed` when the port refuses or the pod is gone.
    func connect(port: Int) async throws -> CInt
}

/// Which log lines are wanted.
package struct LogOptions: Sendable, Hashable {
    package var follow: Bool
    /// Only the last lines of each container; `nil` for all that are kept.
    package var tail: Int?
    /// Only this replica; `nil` for all.
    package var replica: String?
    /// Only this container; `nil` for all.
    package var container: String?

    package init(follow: Bool = false, tail: Int? = nil, replica: String? = nil, container: String? = nil) {
        self.follow = follow
        self.tail = tail
        self.replica = replica
        self.container = container
    }
}
