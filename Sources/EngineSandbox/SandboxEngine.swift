package import Core
import Foundation
package import Logging
import PodInitClient
import PodInitProtocol
import Support
import Synchronization

/// Pods as bubblewrap sandboxes: no daemon and no images, the host's own system is the (read-only) file system.
///
/// All state is on disk and in the pods' supervisors, so any number of instances may use the same folder, and a
/// platform that was killed finds its pods again. A pod reaches only the platform, by the cluster's host names.
package final class SandboxEngine: Engine {
    package let name = "sandbox"

    let configuration: SandboxConfiguration
    let supervisor: Supervisor
    let clock: any PlatformClock
    private let logger: Logger
    private let hub = HintHub()
    let sockets: PodSockets
    /// Starts that are under way, by pod.
    private let starts = Mutex<[String: Task<Void, any Error>]>([:])
    private let looks = Mutex(PodLooks())
    /// When leftovers were last searched for; in the future during a search.
    private let sweptAt = Mutex<Instant?>(nil)
    private let machine = Mutex<Machine?>(nil)
    /// Pods for which the log says that their record cannot be read.
    private let reported = Mutex<Set<String>>([])

    package init(configuration: SandboxConfiguration, clock: any PlatformClock, logger: Logger) {
        self.configuration = configuration
        self.supervisor = Supervisor(configuration: configuration, clock: clock)
        self.clock = clock
        self.logger = logger
        self.sockets = PodSockets(helper: configuration.podInit, clock: clock)
    }

    package func setUp() async throws {
        _ = try await found()
    }

    /// How pods reach the platform: `veth`, or `loopback`, which takes port 80 from them. `nil` before `setUp`.
    package var network: String? { machine.withLock { $0?.network } }

    /// What this machine can do; found out once.
    func found() async throws -> Machine {
        if let machine = machine.withLock({ $0 }) { return machine }
        let configuration = self.configuration
        try await blocking {
            try Self.checkPrograms(configuration)
            do {
                try FileManager.default.createDirectory(
                    atPath: configuration.directory, withIntermediateDirectories: true,
                    attributes: [.posixPermissions: 0o700])
            } catch let error as PlatformError {
                throw error
            } catch {
                throw PlatformError(.engineUnavailable, "The folder for pods cannot be written.", cause: error)
            }
        }
        // Leftovers that cannot be removed do not prevent the start; removal is retried in the background.
        do {
            try await withTimeLimit(.seconds(5), clock: clock) { [self] in await sweep() }
        } catch let error as PlatformError where error.code == .timedOut {
            logger.warning("leftovers of pods are still being removed")
        }
        let machine = try await Machine.inspect(configuration, sockets: sockets)
        self.machine.withLock { $0 = machine }
        logger.info(
            "sandbox engine ready",
            metadata: [
                "network": "\(machine.network)", "memory.limits": "\(machine.groups.hasMemory)",
                "cpu.shares": "\(machine.groups.hasCPU)", "pod.sockets": "\(sockets.way?.rawValue ?? "-")",
            ])
        if sockets.way == .podInit {
            logger.warning(
                "the kernel does not let the platform into the networks of pods, so PodInit makes its connections; a pod that takes its PodInit over can delay requests of other APIs"
            )
        }
        return machine
    }

    /// Removes leftovers, no more often than every half minute.
    private func sweep() async {
        let now = clock.instant()
        let isDue = sweptAt.withLock { last in
            if let last, now < last + .seconds(30) { return false }
            last = now + .seconds(3600)
            return true
        }
        guard isDue else { return }
        do {
            for (folder, error) in try await supervisor.sweep().sorted(by: { $0.key < $1.key }) {
                logger.warning(
                    "what is left of a pod cannot be removed; trying again later",
                    metadata: ["folder": "\(folder)", "error": "\(error)"])
            }
        } catch {
            if !Task.isCancelled {
                logger.warning("leftovers of pods cannot be listed", metadata: ["error": "\(error)"])
            }
        }
        sweptAt.withLock { $0 = clock.instant() }
    }

    private static func checkPrograms(_ configuration: SandboxConfiguration) throws {
        guard access(configuration.bubblewrap, X_OK) == 0 else {
            throw PlatformError(
                .engineUnavailable,
                "bubblewrap is not installed: install it (apt-get install bubblewrap) or use a container engine.")
        }
        guard access(configuration.podInit, X_OK) == 0 else {
            throw PlatformError(
                .engineUnavailable, "cortex-pod-init is missing: it belongs beside the cortex executable.")
        }
    }

    func folder(_ pod: String) -> PodFolder { PodFolder(directory: configuration.directory, pod: pod) }
    func client(_ pod: String) -> PodInitClient { PodInitClient(socketPath: folder(pod).socket) }

    // MARK: pods

    package func prepare(_ plan: PodPlan, progress: @escaping @Sendable (String) -> Void) async throws {
        try check(plan, try await found())
    }

    package func start(_ plan: PodPlan) async throws {
        await endStart(of: plan.id)
        // Of an earlier pod by this name whose start failed.
        sockets.forget(plan.id)
        let task = Task { try await begin(plan) }
        starts.withLock { $0[plan.id] = task }
        defer {
            starts.withLock { starts in
                if starts[plan.id] == task { starts[plan.id] = nil }
            }
        }
        try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }

    /// Cancels a start of this pod that is under way, and waits until it has cleaned up.
    private func endStart(of pod: String) async {
        guard let task = starts.withLock({ $0[pod] }) else { return }
        task.cancel()
        _ = await task.result
    }

    private func begin(_ plan: PodPlan) async throws {
        let machine = try await found()
        try check(plan, machine)
        let folder = folder(plan.id)
        let directory = configuration.directory
        let supervisor = self.supervisor
        if try await blocking({ access(folder.path, F_OK) == 0 }) {
            let pod = try await observe(plan)
            // This check comes first: a later failure would remove the pod that runs.
            guard !pod.isAlive || pod.containers.contains(where: { $0.state == .created }) else {
                throw PlatformError(.conflict, "Pod \(plan.id) exists already.")
            }
            logger.info("removing what an earlier start of this pod left", metadata: ["pod": "\(plan.id)"])
            hub.forget(plan.id)
            try await supervisor.remove(folder)
        }
        let others = try await reserved()
        do {
            let record = try await blocking {
                try Memory.present().check(plan, reserved: others)
                for container in plan.containers { try Self.checkVolumes(container) }
                return try Self.make(plan, folder, machine, in: directory)
            }
            try await supervisor.start(folder, user: record.user)
            try await run(record, folder, machine)
        } catch {
            // In another task: this one may be cancelled, and half a pod must not stay.
            let cleanUp = await Task { try await supervisor.remove(folder) }.result
            guard case .failure(let second) = cleanUp else { throw error }
            // The next start of this id, or its stop, removes the rest.
            let first = error as? PlatformError
            throw PlatformError(
                first?.code ?? .engineUnavailable, first?.message ?? "A start was cancelled and left something behind.",
                cause: second)
        }
        hub.watch(plan.id, client(plan.id))
    }

    /// Folder and control groups. Blocking.
    private static func make(
        _ plan: PodPlan, _ folder: PodFolder, _ machine: Machine, in directory: String
    ) throws -> PodFolder.Record {
        var record = PodFolder.Record(plan: plan, groups: [:], stages: true)
        if machine.hasPodUsers { record.user = PodUsers.random(besides: try records(directory)) }
        for container in plan.containers {
            record.groups[container.name] = machine.groups.group("\(plan.id).\(container.name)")
        }
        do {
            // Create the folder first: it records the control groups, so the next start cleans up after a crash here.
            try folder.create(record)
            for container in plan.containers {
                _ = try machine.groups.make("\(plan.id).\(container.name)", container.compute)
                try folder.renew(container.name, user: record.user)
            }
        } catch {
            for group in record.groups.values { group.remove() }
            throw error
        }
        return record
    }

    private func run(_ record: PodFolder.Record, _ folder: PodFolder, _ machine: Machine) async throws {
        let client = client(record.plan.id)
        let network = try await client.status().network
        try await blocking { try SystemFiles.write(folder, network: network) }
        for container in record.plan.containers {
            try await client.start(blocking { machine.request(container, folder, record) })
        }
    }

    package func stop(pod: String, grace: Duration) async throws {
        let folder = folder(pod)
        guard Self.isName(pod) else { return }
        await endStart(of: pod)
        guard try await blocking({ access(folder.path, F_OK) == 0 }) else { return }
        do {
            try await client(pod).shutdown(grace: grace)
        } catch let error as PlatformError {
            // Its supervisor is gone or does not answer: the code below kills what is left.
            logger.debug("pod not shut down in order", metadata: ["pod": "\(pod)", "error": "\(error)"])
        }
        try await supervisor.remove(folder)
        looks.withLock { $0.forget(pod) }
        sockets.forget(pod)
        hub.forget(pod)
        hub.publish(pod)
    }

    // MARK: containers

    package func restart(container: String, of pod: PodPlan) async throws {
        let machine = try await found()
        let folder = folder(pod.id)
        let record = try await blocking { folder.read() }
        guard let record else { throw PlatformError(.notFound, "Pod \(pod.id) is gone.") }
        // What it was started with, whatever is declared by now.
        guard let plan = record.plan.containers.first(where: { $0.name == container }) else {
            throw PlatformError(.notFound, "Pod \(pod.id) has no container \(container).")
        }
        try await blocking {
            try Self.checkVolumes(plan)
            try folder.renew(container, user: record.user)
        }
        try await client(pod.id).start(blocking { machine.request(plan, folder, record) })
    }

    package func stop(container: String, of pod: String, grace: Duration) async throws {
        try await client(pod).stop(container: container, grace: grace)
    }

    package func exec(_ command: [String], container: String, pod: String, timeout: Duration) async throws -> ExecResult
    {
        try await client(pod).exec(command, container: container, timeout: timeout, cap: Limits.failureBody)
    }

    package func connector(pod: String) -> any Connector {
        let (folder, supervisor) = (self.folder(pod), self.supervisor)
        let own = PodInitConnector.Own(sockets: sockets, pod: pod) { [self] in
            _ = try await found()
            return try await blocking { try supervisor.network(folder) }
        }
        return PodInitConnector(client: client(pod), own: own)
    }

    package func hints() -> AsyncStream<String> { hub.stream() }

    // MARK: list

    package func list() async throws -> [ObservedPod] {
        // Beside the list, which does not wait for it.
        Task { await sweep() }
        let directory = configuration.directory
        let (records, unreadable) = try await blocking {
            (try Self.records(directory), try Self.unreadable(directory))
        }
        report(unreadable)
        return try await withThrowingTaskGroup(of: ObservedPod.self) { group in
            var pods: [ObservedPod] = []
            for (number, record) in records.enumerated() {
                if number >= 64, let pod = try await group.next() { pods.append(pod) }
                group.addTask { try await self.observe(record.plan) }
            }
            for try await pod in group { pods.append(pod) }
            return pods.sorted { $0.id < $1.id }
        }
    }

    private static func records(_ directory: String) throws -> [PodFolder.Record] {
        guard access(directory, F_OK) == 0 else { return [] }
        do {
            return try FileManager.default.contentsOfDirectory(atPath: directory)
                .filter { !$0.hasPrefix(".") }
                .compactMap { PodFolder(directory: directory, pod: $0).read() }
        } catch {
            throw PlatformError(.engineUnavailable, "The folder for pods cannot be read.", cause: error)
        }
    }

    /// Pods whose record cannot be read, with the reason.
    private static func unreadable(_ directory: String) throws -> [String: String] {
        guard access(directory, F_OK) == 0 else { return [:] }
        var reasons: [String: String] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: directory) where !name.hasPrefix(".") {
            if case .unreadable(let reason) = PodFolder(directory: directory, pod: name).look() {
                reasons[name] = reason
            }
        }
        return reasons
    }

    /// Logs once for each pod with an unreadable record that it is left alone.
    private func report(_ unreadable: [String: String]) {
        let new = reported.withLock { known -> [String: String] in
            defer { known = Set(unreadable.keys) }
            return unreadable.filter { !known.contains($0.key) }
        }
        for (pod, reason) in new.sorted(by: { $0.key < $1.key }) {
            logger.warning(
                "the record of a pod cannot be read, so the pod is left as it is and gets no requests; start the release that made it, or end its processes and remove its folder in the data directory",
                metadata: ["pod": "\(pod)", "reason": "\(reason)"])
        }
    }

    private func observe(_ plan: PodPlan) async throws -> ObservedPod {
        var pod = ObservedPod(
            id: plan.id, owner: plan.owner,
            createdAt: plan.createdAt, isAlive: true, containers: [])
        do {
            let report = try await client(plan.id).status(timeout: looks.withLock { $0.timeout(for: plan.id) })
            hub.watch(plan.id, client(plan.id))
            pod.containers = plan.containers.map { container in
                ObservedContainer(
                    name: container.name, state: Self.state(report.containers.first { $0.name == container.name }))
            }
            try await addExits(to: &pod, of: plan)
            looks.withLock { $0.answered(pod) }
        } catch let error as PlatformError {
            // A slow pod does not delay the list: for a while its last state is reported.
            let isSlow = error.code == .timedOut
            if isSlow, let last = looks.withLock({ $0.silent(plan.id, now: clock.instant()) }) { return last }
            // Gone, or it has not answered for long: this pod can no longer be reached.
            pod.isAlive = false
            sockets.forget(plan.id)
            pod.containers = plan.containers.map {
                ObservedContainer(name: $0.name, state: .exited(ContainerExit(code: 137)))
            }
            try await addExits(to: &pod, of: plan)
        }
        return pod
    }

    /// Adds when containers of a pod that is not restarted ended; in a pod whose supervisor is gone, also how.
    private func addExits(to pod: inout ObservedPod, of plan: PodPlan) async throws {
        guard plan.restart == .never, pod.containers.contains(where: \.hasExited) else { return }
        let folder = folder(plan.id)
        let exits = try await blocking { folder.readExits() }
        for index in pod.containers.indices where pod.containers[index].hasExited {
            guard let exit = exits[pod.containers[index].name] else { continue }
            pod.containers[index].endedAt = Timestamp(microseconds: exit.endedAt)
            guard !pod.isAlive else { continue }
            pod.containers[index].state = .exited(
                ContainerExit(code: exit.exitCode, outOfMemory: exit.outOfMemory))
        }
    }

    private static func state(_ container: StatusReport.Container?) -> ObservedContainer.State {
        guard let container, container.starts > 0 else { return .created }
        guard let code = container.exitCode else { return .running }
        return .exited(ContainerExit(code: code, outOfMemory: container.outOfMemory))
    }

    /// Bytes of memory that the pods which run here may use.
    private func reserved() async throws -> Int64 {
        let directory = configuration.directory
        return try await blocking {
            try Self.records(directory).reduce(0) { sum, record in sum + Memory.wanted(record.plan) }
        }
    }

    /// It becomes the name of a folder, and of a control group.
    static func isName(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count <= 200 && !name.hasPrefix(".")
            && name.utf8.allSatisfy { byte in
                byte == 45 || byte == 46 || byte == 95 || (48...57).contains(byte) || (65...90).contains(byte)
                    || (97...122).contains(byte)
            }
    }
}

/// The last known state of pods, for those whose supervisor is slow to answer.
private struct PodLooks {
    /// How long a list waits for a pod that it knows.
    private static let timeout: Duration = .seconds(2)
    /// A pod that does not answer for this long is dead.
    private static let silence: Duration = .seconds(10)

    private var last: [String: ObservedPod] = [:]
    private var silentSince: [String: Instant] = [:]

    /// How long to wait for an answer. A pod that was never seen gets the whole time, once.
    func timeout(for pod: String) -> Duration {
        last[pod] == nil && silentSince[pod] == nil ? Self.silence : Self.timeout
    }

    mutating func answered(_ pod: ObservedPod) {
        last[pod.id] = pod
        silentSince[pod.id] = nil
    }

    /// - Returns: the state to report; `nil` when it is dead, or never answered.
    mutating func silent(_ pod: String, now: Instant) -> ObservedPod? {
        let since = silentSince[pod] ?? now
        silentSince[pod] = since
        return now - since < Self.silence ? last[pod] : nil
    }

    mutating func forget(_ pod: String) {
        last[pod] = nil
        silentSince[pod] = nil
    }
}
