import Core
import Foundation
import LocalOrchestrator
import Support
import Synchronization
import Wire

/// Collects the current state of the platform (``StateDocument``). A part that does not answer in time is named as
/// missing.
struct PlatformState: Sendable {
    /// Longest time in which a part may answer.
    static let limit: Duration = .seconds(2)

    let store: any Store
    let orchestrator: LocalOrchestrator
    let isStopping: @Sendable () -> Bool
    var operations = OperationRegistry.shared

    func document() async -> StateDocument {
        let (store, orchestrator) = (store, orchestrator)
        async let replicas = Self.part { await orchestrator.state() }
        async let queues = Self.part { try await store.counts() }
        var document = withoutWaiting()
        if let replicas = await replicas {
            document.replicas = replicas.map {
                .init(id: $0.id, api: $0.api, phase: $0.phase, inFlight: $0.inFlight, reason: $0.reason)
            }
        } else {
            document.missing.append("replicas")
        }
        if let queues = await queues { document.queues = queues } else { document.missing.append("queues") }
        return document
    }

    /// The parts that can be read without a task.
    private func withoutWaiting() -> StateDocument {
        let now = SystemClock().instant()
        let descriptors = Self.descriptors()
        return StateDocument(
            apiVersion: CortexVersion.current, isStopping: isStopping(),
            operations: operations.underWay().map {
                .init(
                    name: $0.name, subject: $0.subject,
                    ageSeconds: Double((now - $0.startedAt).wholeMicroseconds) / 1_000_000)
            }, openFiles: descriptors.all, connections: descriptors.sockets)
    }

    /// The state as text for people. Blocks the calling thread for at most ``limit`` and a second, also when no task
    /// runs.
    func report() -> String {
        let answer = Answer()
        Task { answer.put(await self.document()) }
        for _ in 0..<300 where answer.document == nil { usleep(10_000) }
        var document = answer.document ?? withoutWaiting()
        if answer.document == nil { document.missing = ["replicas", "queues"] }
        return Self.text(of: document)
    }

    static func text(of state: StateDocument) -> String {
        var lines = [
            "state of cortex \(state.apiVersion)\(state.isStopping ? ", stopping" : "")",
            "  \(state.openFiles) open files, \(state.connections) of them connections",
        ]
        for part in state.missing { lines.append("  \(part): no answer in time") }
        for operation in state.operations {
            lines.append(
                "  operation \(operation.name) \(operation.subject), for \(Age.text(of: .seconds(operation.ageSeconds)))"
            )
        }
        for replica in state.replicas {
            let reason = replica.reason.map { ", \($0.inOneLine)" } ?? ""
            lines.append(
                "  replica \(replica.id) of \(replica.api): \(replica.phase), \(replica.inFlight) requests inside\(reason)"
            )
        }
        for (api, counts) in state.queues.sorted(by: { $0.key < $1.key }) {
            lines.append("  queue of \(api): \(counts.inQueue) in queue, \(counts.inProgress) in progress")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func part<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async -> Value? {
        // The part itself logs its error; here it is reported as missing.
        try? await withTimeLimit(limit) { try await body() }
    }

    private static func descriptors() -> (all: Int, sockets: Int) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        let sockets = names.count { name in
            var information = stat()
            return fstat(CInt(name) ?? -1, &information) == 0 && information.st_mode & S_IFMT == S_IFSOCK
        }
        return (names.count, sockets)
    }

    private final class Answer: Sendable {
        private let value = Mutex<StateDocument?>(nil)
        var document: StateDocument? { value.withLock { $0 } }
        func put(_ document: StateDocument) { value.withLock { $0 = document } }
    }
}
