import Core
import Foundation
import Support
import Synchronization
import TestSupport

/// The example of docs/add-an-engine.md: containers are plain processes of this machine, without isolation and limits.
///
/// It forgets its pods when the process ends. An engine of the product reads them back in ``list()``, so that a
/// platform that restarts adopts them.
final class ProcessEngine: Engine {
    // region: state
    private struct Pod {
        var plan: PodPlan
        /// The last run of each container.
        var processes: [String: ChildProcess] = [:]
    }

    private let pods = Mutex<[String: Pod]>([:])
    private let happened = Broadcast<String>(limit: 1024)
    /// A folder with a folder for each pod, which holds a log file for each container.
    private let directory: URL
    let name = "process"
    // endregion: state

    init(directory: URL) { self.directory = directory }

    func setUp() async throws {
        let directory = directory
        try await blocking {
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        }
    }

    /// An engine with limits names each field here that it cannot keep. This one keeps none and refuses nothing.
    func problems(with specification: APISpecification) async -> [String] { [] }

    /// There are no images to pull.
    func prepare(_ plan: PodPlan, progress: @escaping @Sendable (String) -> Void) async throws {}

    // region: start
    func start(_ plan: PodPlan) async throws {
        let isNew = pods.withLock { pods in
            guard pods[plan.id] == nil else { return false }
            pods[plan.id] = Pod(plan: plan)
            return true
        }
        guard isNew else { throw PlatformError(.conflict, "Pod \(plan.id) runs already.") }
        do {
            for container in plan.containers { try await run(container, of: plan.id) }
        } catch {
            // Nothing of a pod is left when its start fails.
            try await stop(pod: plan.id, grace: .zero)
            throw error
        }
    }

    /// Starts the process of a container. Its output is appended to the container's log.
    private func run(_ container: ContainerPlan, of pod: String) async throws {
        let words = (container.command ?? []) + (container.args ?? [])
        guard let program = words.first else {
            throw PlatformError(.containerFailed, "Container \(container.name) has no command.")
        }
        let (folder, log) = (folder(pod), log(container.name, of: pod))
        try await blocking { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }
        var environment = ["PATH": "/usr/local/bin:/usr/bin:/bin"]
        for variable in container.environment { environment[variable.name] = variable.value }
        let process = try ChildProcess(
            program, Array(words.dropFirst()), environment: environment, directory: folder.path,
            output: .appending(log.path), errors: .appending(log.path))
        pods.withLock { $0[pod]?.processes[container.name] = process }
        // Lives as long as the process, which `stop` ends.
        Task { [happened] in
            _ = await process.wait()
            happened.send(pod)
        }
    }
    // endregion: start

    func restart(container: String, of pod: PodPlan) async throws {
        let isThere = pods.withLock { $0[pod.id] != nil }
        guard isThere, let plan = pod.containers.first(where: { $0.name == container }) else {
            throw PlatformError(.notFound, "There is no container \(container) in pod \(pod.id).")
        }
        try await run(plan, of: pod.id)
    }

    func stop(container: String, of pod: String, grace: Duration) async throws {
        guard let process = pods.withLock({ $0[pod]?.processes[container] }) else { return }
        await end(process, grace: grace)
    }

    // region: stop
    func stop(pod: String, grace: Duration) async throws {
        guard let processes = pods.withLock({ $0[pod].map { Array($0.processes.values) } }) else { return }
        await withTaskGroup(of: Void.self) { group in
            for process in processes { group.addTask { await self.end(process, grace: grace) } }
        }
        let folder = folder(pod)
        try await blocking {
            guard FileManager.default.fileExists(atPath: folder.path) else { return }
            try FileManager.default.removeItem(at: folder)
        }
        pods.withLock { $0[pod] = nil }
        happened.send(pod)
    }

    private func end(_ process: ChildProcess, grace: Duration) async {
        process.send(SIGTERM)
        let ended: Int32? = try? await withTimeLimit(grace) { await process.wait() }
        guard ended == nil else { return }
        process.send(SIGKILL)
        _ = await process.wait()
    }
    // endregion: stop

    // region: list
    func list() async throws -> [ObservedPod] {
        pods.withLock { $0 }.values.map { pod in
            let containers = pod.plan.containers.map { container in
                ObservedContainer(name: container.name, state: Self.state(of: pod.processes[container.name]))
            }
            return ObservedPod(
                id: pod.plan.id, owner: pod.plan.owner, createdAt: pod.plan.createdAt, isAlive: true,
                containers: containers)
        }
    }

    private static func state(of process: ChildProcess?) -> ObservedContainer.State {
        guard let process else { return .created }
        return process.status.map { .exited(ContainerExit(code: Int($0))) } ?? .running
    }

    func hints() -> AsyncStream<String> { happened.stream() }
    // endregion: list

    /// All pods share the network of this machine.
    func connector(pod: String) -> any Connector {
        LoopbackConnector { self.pods.withLock { $0[pod] != nil } }
    }

    func exec(_ command: [String], container: String, pod: String, timeout: Duration) async throws -> ExecResult {
        guard let program = command.first, pods.withLock({ $0[pod]?.processes[container] }) != nil else {
            throw PlatformError(.notFound, "There is no container \(container) in pod \(pod).")
        }
        return try await withTemporaryDirectory { folder in
            let output = folder.appending(path: "output")
            let process = try ChildProcess(
                program, Array(command.dropFirst()), environment: ["PATH": "/usr/local/bin:/usr/bin:/bin"],
                output: .appending(output.path), errors: .appending(output.path))
            let status: Int32
            do {
                status = try await withTimeLimit(timeout) { await process.wait() }
            } catch {
                process.send(SIGKILL)
                throw error
            }
            guard status != 127 else { throw PlatformError(.containerFailed, "\(program) was not found.") }
            let bytes = try await blocking { try Data(contentsOf: output).prefix(Limits.failureBody) }
            return ExecResult(exitCode: Int(status), output: String(decoding: bytes, as: UTF8.self))
        }
    }

    // region: logs
    func logs(container: String, pod: String, follow: Bool, tail: Int?) async throws -> LogStream<[UInt8]> {
        guard pods.withLock({ $0[pod]?.processes[container] }) != nil else {
            throw PlatformError(.notFound, "There is no container \(container) in pod \(pod).")
        }
        let (folder, log) = (folder(pod), log(container, of: pod))
        return LogStream { [self] write in
            let changes = follow ? try FolderChanges.shared.changes(in: folder.path) : nil
            var waiting = changes?.makeAsyncIterator()
            let file = try FileHandle(forReadingFrom: log)
            var splitter = LineSplitter()
            var tail = tail
            while true {
                // Looked at before the file is read: what was written until then is in the file.
                let isOver = !follow || pods.withLock { $0[pod] == nil }
                var lines: [UInt8] = []
                splitter.split(try await blocking { try file.readToEnd() ?? Data() }, into: &lines)
                if isOver { splitter.end(into: &lines) }
                if let count = tail { lines = Self.last(count, of: lines) }
                tail = nil
                if !lines.isEmpty { try await write(lines) }
                if isOver { return }
                _ = await waiting?.next()
                try Task.checkCancellation()
            }
        }
    }
    // endregion: logs

    private static func last(_ count: Int, of lines: [UInt8]) -> [UInt8] {
        lines.split(separator: 10, omittingEmptySubsequences: false).dropLast().suffix(count).flatMap { $0 + [10] }
    }

    private func folder(_ pod: String) -> URL { directory.appending(path: pod) }
    private func log(_ container: String, of pod: String) -> URL { folder(pod).appending(path: container + ".log") }
}

/// Connects to a port of this machine.
private struct LoopbackConnector: Connector {
    let isThere: @Sendable () -> Bool

    func connect(port: Int) async throws -> CInt {
        guard isThere() else { throw PlatformError(.connectionFailed, "The pod is gone.") }
        return try await blocking { try connectToLoopback(port: port) }
    }
}

private func connectToLoopback(port: Int) throws -> CInt {
    let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw PlatformError(.connectionFailed, "No further socket can be opened.") }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(UInt16(port).bigEndian)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let result = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
    guard result == 0 else {
        close(descriptor)
        throw PlatformError(.connectionFailed, "Nothing listens on port \(port).")
    }
    return descriptor
}
