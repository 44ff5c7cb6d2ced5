package import Core
import Foundation
import Synchronization

/// An engine without pods: it keeps a table, does what a test scripts, and records the calls.
package final class FakeEngine: Engine {
    package struct FakePod: Sendable {
        package var plan: PodPlan
        package var isAlive = true
        package var containers: [String: ObservedContainer.State]
        /// When containers exited, as far as the engine knows it.
        package var endedAt: [String: Timestamp] = [:]
        /// Ports that accept a connection.
        package var listening: Set<Int>
    }

    private struct State {
        var pods: [String: FakePod] = [:]
        var calls: [String] = []
        var prepareFailures: [PlatformError] = []
        var startFailures: [PlatformError] = []
        var listFailure: PlatformError?
        var lists = 0
        /// Lists that wait; `nil` while they are answered at once.
        var heldLists: [CheckedContinuation<Void, Never>]?
        var listensAtStart: Set<Int> = [8080]
        var listeners: [AsyncStream<String>.Continuation] = []
        var logLines: [String: [String]] = [:]
        var logFailures: [String: PlatformError] = [:]
        /// Whether pods write a first and a last line themselves.
        var narrates = false
        var logReaders: [Int: (pod: String, changes: AsyncStream<Void>.Continuation)] = [:]
        var nextLogReader = 0
        var diskUsage: [String: DiskUsage] = [:]
        var capacity: ComputeAmount?
        var execResult = ExecResult(exitCode: 0, output: "")
        var progress: [String] = []
        var restarted: [PodPlan] = []
        var hanging: [(prefix: String, ignoresCancellation: Bool)] = []
        var hung: [Int: CheckedContinuation<Void, any Error>] = [:]
        var nextHung = 0
    }

    private let state = Mutex(State())
    package let name = "fake"

    package init() {}

    // MARK: What tests script and see

    package var pods: [String: FakePod] { state.withLock { $0.pods } }
    package var calls: [String] { state.withLock { $0.calls } }
    /// Answers to ``list()`` so far.
    package var listCount: Int { state.withLock { $0.lists } }

    package func failNextPrepare(with error: PlatformError) { state.withLock { $0.prepareFailures.append(error) } }
    package func failNextStart(with error: PlatformError) { state.withLock { $0.startFailures.append(error) } }
    package func failList(with error: PlatformError?) { state.withLock { $0.listFailure = error } }
    /// Answers no list until ``releaseLists()``.
    package func holdLists() { state.withLock { $0.heldLists = $0.heldLists ?? [] } }
    package func releaseLists() {
        let held = state.withLock { state in
            defer { state.heldLists = nil }
            return state.heldLists ?? []
        }
        for list in held { list.resume() }
    }

    /// Ports that new pods listen on from their start.
    package func listenAtStart(_ ports: Set<Int>) { state.withLock { $0.listensAtStart = ports } }
    package func setLog(_ lines: [String], of container: String, pod: String) {
        state.withLock { $0.logLines["\(pod)/\(container)"] = lines }
    }

    /// Lets each container write `first line of <pod>` when it starts, and `last line of <pod>` when its pod is
    /// stopped.
    package func narrate() { state.withLock { $0.narrates = true } }

    private func narrate(_ word: String, of pod: String, _ containers: [String]) {
        let readers = state.withLock { state -> [AsyncStream<Void>.Continuation] in
            guard state.narrates else { return [] }
            for container in containers {
                state.logLines["\(pod)/\(container)", default: []].append("\(word) line of \(pod)")
            }
            return state.logReaders.values.filter { $0.pod == pod }.map(\.changes)
        }
        for reader in readers { reader.yield() }
    }

    /// What a pod stores from now on.
    package func setDiskUsage(_ usage: DiskUsage, of pod: String) { state.withLock { $0.diskUsage[pod] = usage } }

    /// Reading this log fails from now on.
    package func failLog(of container: String, pod: String, with error: PlatformError) {
        state.withLock { $0.logFailures["\(pod)/\(container)"] = error }
    }

    /// What the machine has; `nil`, as at first, when the engine does not say.
    package func setCapacity(_ capacity: ComputeAmount?) { state.withLock { $0.capacity = capacity } }
    /// What every command gives from now on.
    package func setExec(_ result: ExecResult) { state.withLock { $0.execResult = result } }
    /// What `prepare` reports of its progress.
    package func setProgress(_ lines: [String]) { state.withLock { $0.progress = lines } }
    /// The plans with which containers were restarted.
    package var restarted: [PodPlan] { state.withLock { $0.restarted } }
    /// Calls whose record begins with `prefix` (also `list`, `capacity`, `problems`) do not return until
    /// ``releaseHanging()``, or until they are cancelled unless the engine ignores that.
    package func hang(_ prefix: String, ignoringCancellation: Bool = false) {
        state.withLock { $0.hanging.append((prefix, ignoringCancellation)) }
    }
    /// How many calls hang.
    package var hangingCalls: Int { state.withLock { $0.hung.count } }
    package func releaseHanging() {
        let hung = state.withLock { state in
            defer { state.hung = [:] }
            state.hanging = []
            return state.hung.values
        }
        for call in hung { call.resume() }
    }
    package func forgetCalls() { state.withLock { $0.calls = [] } }

    /// Changes a pod behind the orchestrator's back, as a crash would, and sends the hint that an engine would send.
    package func change(_ pod: String, hint: Bool = true, _ body: @Sendable (inout FakePod) -> Void) {
        state.withLock { state in
            guard var changed = state.pods[pod] else { return }
            body(&changed)
            state.pods[pod] = changed
        }
        if hint { send(hint: pod) }
    }

    /// Adds a pod that an earlier process of the platform would have started.
    package func insert(_ plan: PodPlan) {
        state.withLock { state in
            state.pods[plan.id] = FakePod(
                plan: plan, containers: Dictionary(uniqueKeysWithValues: plan.containers.map { ($0.name, .running) }),
                listening: state.listensAtStart)
        }
    }

    private func send(hint pod: String) {
        let listeners = state.withLock { $0.listeners }
        for listener in listeners { listener.yield(pod) }
    }

    private func record(_ call: String) { state.withLock { $0.calls.append(call) } }

    private func begin(_ call: String) async throws {
        record(call)
        try await hang(in: call)
    }

    private func hang(in call: String) async throws {
        let (number, mode) = state.withLock { state -> (Int, Bool?) in
            state.nextHung += 1
            return (state.nextHung, state.hanging.first { call.hasPrefix($0.prefix) }?.ignoresCancellation)
        }
        guard let ignoresCancellation = mode else { return }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let isCancelled = state.withLock { state -> Bool in
                    if Task.isCancelled, !ignoresCancellation { return true }
                    state.hung[number] = continuation
                    return false
                }
                if isCancelled { continuation.resume(throwing: CancellationError()) }
            }
        } onCancel: {
            guard !ignoresCancellation else { return }
            state.withLock { $0.hung.removeValue(forKey: number) }?.resume(throwing: CancellationError())
        }
    }

    // MARK: Engine

    package func setUp() async throws {}

    package func problems(with specification: APISpecification) async -> [String] {
        try? await hang(in: "problems")
        return []
    }

    package func capacity() async -> ComputeAmount? {
        try? await hang(in: "capacity")
        return state.withLock { $0.capacity }
    }

    package func prepare(_ plan: PodPlan, progress: @escaping @Sendable (String) -> Void) async throws {
        for line in state.withLock({ $0.progress }) { progress(line) }
        try await begin("prepare \(plan.id)")
        let failure = state.withLock { $0.prepareFailures.isEmpty ? nil : $0.prepareFailures.removeFirst() }
        if let failure { throw failure }
    }

    package func start(_ plan: PodPlan) async throws {
        try await begin("start \(plan.id)")
        let failure = state.withLock { $0.startFailures.isEmpty ? nil : $0.startFailures.removeFirst() }
        if let failure { throw failure }
        insert(plan)
        narrate("first", of: plan.id, plan.containers.map(\.name))
        send(hint: plan.id)
    }

    package func restart(container: String, of pod: PodPlan) async throws {
        try await begin("restart \(container) of \(pod.id)")
        state.withLock { state in
            state.restarted.append(pod)
            state.pods[pod.id]?.containers[container] = .running
        }
    }

    package func stop(container: String, of pod: String, grace: Duration) async throws {
        try await begin("stop \(container) of \(pod)")
        state.withLock { state in
            // One that has exited keeps its exit code.
            guard state.pods[pod]?.containers[container] == .running else { return }
            state.pods[pod]?.containers[container] = .exited(ContainerExit(code: 143))
        }
        send(hint: pod)
    }

    package func stop(pod: String, grace: Duration) async throws {
        try await begin("stop \(pod)")
        narrate("last", of: pod, state.withLock { $0.pods[pod]?.plan.containers.map(\.name) ?? [] })
        let readers = state.withLock { state in
            state.pods[pod] = nil
            return state.logReaders.values.filter { $0.pod == pod }.map(\.changes)
        }
        for reader in readers { reader.yield() }
        send(hint: pod)
    }

    package func list() async throws -> [ObservedPod] {
        try await hang(in: "list")
        await withCheckedContinuation { continuation in
            let isHeld = state.withLock { state in
                state.heldLists?.append(continuation)
                return state.heldLists != nil
            }
            if !isHeld { continuation.resume() }
        }
        let (pods, failure) = state.withLock { state in
            state.lists += 1
            return (state.pods, state.listFailure)
        }
        if let failure { throw failure }
        return pods.values.map { pod in
            ObservedPod(
                id: pod.plan.id, owner: pod.plan.owner, createdAt: pod.plan.createdAt, isAlive: pod.isAlive,
                containers: pod.containers.map {
                    ObservedContainer(name: $0.key, state: $0.value, endedAt: pod.endedAt[$0.key])
                })
        }
    }

    package func connector(pod: String) -> any Connector {
        FakeConnector { port in
            self.state.withLock { ($0.pods[pod]?.listening.contains(port) ?? false) && $0.pods[pod]?.isAlive == true }
        }
    }

    package func exec(_ command: [String], container: String, pod: String, timeout: Duration) async throws -> ExecResult
    {
        try await begin("exec \(command.joined(separator: " ")) in \(container) of \(pod)")
        return state.withLock { $0.execResult }
    }

    /// With `follow` the lines end when the pod is removed, or with the reader's task.
    package func logs(container: String, pod: String, follow: Bool, tail: Int?) async throws -> LogStream<[UInt8]> {
        record("logs of \(container) of \(pod)\(tail.map { " tail \($0)" } ?? "")")
        let key = "\(pod)/\(container)"
        let (older, failure, isGone) = state.withLock { state in
            (state.logLines[key]?.count ?? 0, state.logFailures[key], state.narrates && state.pods[pod] == nil)
        }
        if isGone { throw PlatformError(.notFound, "There is no container \(container) in pod \(pod).") }
        return LogStream { [self] write in
            if let failure { throw failure }
            let (changes, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
            let reader = state.withLock { state in
                state.nextLogReader += 1
                state.logReaders[state.nextLogReader] = (pod, continuation)
                return state.nextLogReader
            }
            defer { state.withLock { $0.logReaders[reader] = nil } }
            var position = max(0, older - (tail ?? older))
            continuation.yield()
            for await _ in changes {
                let (lines, isOver) = state.withLock { state in
                    (state.logLines[key] ?? [], !follow || state.pods[pod] == nil)
                }
                for line in lines[min(position, lines.count)...] { try await write(Array("\(line)\n".utf8)) }
                position = lines.count
                if isOver { return }
            }
            try Task.checkCancellation()
        }
    }

    package func lastLines(container: String, pod: String, count: Int, since mark: String?) async throws -> LogExcerpt?
    {
        let lines = state.withLock { $0.logLines["\(pod)/\(container)"] ?? [] }
        let present = "\(lines.count)"
        record("last lines of \(container) of \(pod)\(mark == present ? " unchanged" : "")")
        return mark == present ? nil : LogExcerpt(lines: lines.suffix(count), mark: present)
    }

    package func diskUsage(pod: String, limit: Int64, upTo time: Duration?) async throws -> DiskUsage? {
        record("disk of \(pod)")
        return state.withLock { $0.diskUsage[pod] }
    }

    package func artifactsFolder(pod: String) async throws -> String? {
        state.withLock { $0.pods[pod].map { $0.plan.hasArtifacts ? "/fake/\(pod)" : nil } ?? nil }
    }

    package func hints() -> AsyncStream<String> {
        let (stream, continuation) = AsyncStream.makeStream(of: String.self)
        state.withLock { $0.listeners.append(continuation) }
        return stream
    }
}

/// Connects to nothing: the descriptor is good for closing, which is all that a TCP probe does with it.
private struct FakeConnector: Connector {
    let accepts: @Sendable (Int) -> Bool

    func connect(port: Int) async throws -> CInt {
        guard accepts(port) else { throw PlatformError(.connectionFailed, "connection refused") }
        return open("/dev/null", O_RDWR | O_CLOEXEC)
    }
}
