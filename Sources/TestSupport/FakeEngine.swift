package import Core
import Foundation
import Synchronization

/// An engine without pods: it keeps a table, does what a test scripts, and tells what was asked of it.
package final class FakeEngine: Engine {
    package struct FakePod: Sendable {
        package var plan: PodPlan
        package var isAlive = true
        package var containers: [String: ObservedContainer.State]
        /// Ports that accept a connection.
        package var listening: Set<Int>
    }

    private struct State {
        var pods: [String: FakePod] = [:]
        var calls: [String] = []
        var prepareFailures: [PlatformError] = []
        var startFailures: [PlatformError] = []
        var listFailure: PlatformError?
        /// Lists that wait; `nil` while they are answered at once.
        var heldLists: [CheckedContinuation<Void, Never>]?
        var listensAtStart: Set<Int> = [8080]
        var listeners: [AsyncStream<String>.Continuation] = []
        var logLines: [String: [String]] = [:]
        var logFailures: [String: PlatformError] = [:]
        var diskUsage: [String: DiskUsage] = [:]
        var capacity: ComputeAmount?
        var execResult = ExecResult(exitCode: 0, output: "")
    }

    private let state = Mutex(State())
    package let name = "fake"

    package init() {}

    // MARK: What tests script and see

    package var pods: [String: FakePod] { state.withLock { $0.pods } }
    package var calls: [String] { state.withLock { $0.calls } }

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

    // MARK: Engine

    package func setUp() async throws {}

    package func problems(with specification: APISpecification) async -> [String] { [] }

    package func capacity() async -> ComputeAmount? { state.withLock { $0.capacity } }

    package func prepare(_ plan: PodPlan, progress: @escaping @Sendable (String) -> Void) async throws {
        record("prepare \(plan.id)")
        let failure = state.withLock { $0.prepareFailures.isEmpty ? nil : $0.prepareFailures.removeFirst() }
        if let failure { throw failure }
    }

    package func start(_ plan: PodPlan) async throws {
        record("start \(plan.id)")
        let failure = state.withLock { $0.startFailures.isEmpty ? nil : $0.startFailures.removeFirst() }
        if let failure { throw failure }
        insert(plan)
        send(hint: plan.id)
    }

    package func restart(container: String, of pod: PodPlan) async throws {
        record("restart \(container) of \(pod.id)")
        state.withLock { $0.pods[pod.id]?.containers[container] = .running }
    }

    package func stop(container: String, of pod: String, grace: Duration) async throws {
        record("stop \(container) of \(pod)")
        state.withLock { $0.pods[pod]?.containers[container] = .exited(ContainerExit(code: 143)) }
        send(hint: pod)
    }

    package func stop(pod: String, grace: Duration) async throws {
        record("stop \(pod)")
        state.withLock { $0.pods[pod] = nil }
        send(hint: pod)
    }

    package func list() async throws -> [ObservedPod] {
        await withCheckedContinuation { continuation in
            let isHeld = state.withLock { state in
                state.heldLists?.append(continuation)
                return state.heldLists != nil
            }
            if !isHeld { continuation.resume() }
        }
        let (pods, failure) = state.withLock { ($0.pods, $0.listFailure) }
        if let failure { throw failure }
        return pods.values.map { pod in
            ObservedPod(
                id: pod.plan.id, api: pod.plan.api, apiID: pod.plan.apiID, podID: pod.plan.podID,
                deploymentID: pod.plan.deploymentID, createdAt: pod.plan.createdAt, isAlive: pod.isAlive,
                containers: pod.containers.map { ObservedContainer(name: $0.key, state: $0.value) })
        }
    }

    package func connector(pod: String) -> any Connector {
        FakeConnector { port in
            self.state.withLock { ($0.pods[pod]?.listening.contains(port) ?? false) && $0.pods[pod]?.isAlive == true }
        }
    }

    package func exec(_ command: [String], container: String, pod: String, timeout: Duration) async throws -> ExecResult
    {
        record("exec \(command.joined(separator: " ")) in \(container) of \(pod)")
        return state.withLock { $0.execResult }
    }

    /// With `follow` the lines end only with the reader's task.
    package func logs(container: String, pod: String, follow: Bool, tail: Int?) async throws -> LogStream<[UInt8]> {
        record("logs of \(container) of \(pod)\(tail.map { " tail \($0)" } ?? "")")
        let (lines, failure) = state.withLock { state in
            (state.logLines["\(pod)/\(container)"] ?? [], state.logFailures["\(pod)/\(container)"])
        }
        return LogStream { write in
            if let failure { throw failure }
            for line in lines.suffix(tail ?? .max) { try await write(Array("\(line)\n".utf8)) }
            if follow { for await _ in AsyncStream.makeStream(of: Never.self).stream {} }
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

    package func diskUsage(pod: String, limit: Int64) async throws -> DiskUsage? {
        record("disk of \(pod)")
        return state.withLock { $0.diskUsage[pod] }
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
