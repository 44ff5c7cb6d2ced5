import Core
import Support
import Synchronization

/// Calls of the engine. Each has a deadline; the caller waits no longer, even if the engine ignores its cancellation.
struct EngineCalls: Sendable {
    let engine: any Engine
    let clock: any PlatformClock

    /// Asks the engine for something.
    ///
    /// - Parameters:
    ///   - name: what is done, for the list of operations under way and for messages.
    ///   - subject: the pod or the engine, for the same list.
    /// - Throws: `engine_unavailable` after `limit`; `CancellationError` at once when the calling task is cancelled;
    ///   the errors of the engine.
    func ask<Value: Sendable>(
        _ name: String, _ subject: String, limit: Duration,
        _ call: @escaping @Sendable (any Engine) async throws -> Value
    ) async throws -> Value {
        try await naming(name, limit) {
            try await withTimeLimit(limit, clock: clock) { [engine] in
                try await withOperation(name, subject) { try await call(engine) }
            }
        }
    }

    /// Runs an operation that changes a pod. ``PodOperations/cancel()`` cancels it.
    ///
    /// - Throws: the errors of ``ask(_:_:limit:_:)``.
    func operate(
        _ name: String, on id: String, _ operations: PodOperations, limit: Duration,
        _ call: @escaping @Sendable (any Engine) async throws -> Void
    ) async throws {
        try Task.checkCancellation()
        let task = operations.begin { [engine] in
            try await withOperation(name, id) { try await call(engine) }
        }
        try await naming(name, limit) {
            try await withTimeLimit(limit, clock: clock) {
                try await withTaskCancellationHandler {
                    try await task.value
                } onCancel: {
                    task.cancel()
                }
            }
        }
    }

    /// An error of the engine for the log. The engine may cancel calls when it shuts down.
    static func text(of error: any Error) -> String {
        error is CancellationError ? "the container engine did not carry the operation out" : "\(error)"
    }

    private func naming<Value: Sendable>(
        _ name: String, _ limit: Duration, _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        do {
            return try await body()
        } catch let error as PlatformError where error.code == .timedOut {
            throw PlatformError(
                .engineUnavailable,
                "The container engine did not finish within \(limit.components.seconds) s: \(name).",
                cause: error)
        }
    }
}

/// The operations of the engine on one pod that are under way. Safe from any thread.
final class PodOperations: Sendable {
    private struct State {
        var tasks: [Int: Task<Void, any Error>] = [:]
        var count = 0
    }

    private let state = Mutex(State())

    /// Starts an operation in a task of its own, because it may outlive everything that waits for it.
    func begin(_ operation: @escaping @Sendable () async throws -> Void) -> Task<Void, any Error> {
        state.withLock { state in
            state.count += 1
            let number = state.count
            let task = Task {
                defer { self.end(number) }
                try await operation()
            }
            state.tasks[number] = task
            return task
        }
    }

    func cancel() {
        for task in tasks { task.cancel() }
    }

    /// Waits until the operations that are under way have ended.
    ///
    /// - Throws: `timed_out` after `limit`.
    func waitForEnd(limit: Duration, clock: any PlatformClock) async throws {
        let tasks = tasks
        guard !tasks.isEmpty else { return }
        try await withTimeLimit(limit, clock: clock) {
            for task in tasks { _ = await task.result }
        }
    }

    private var tasks: [Task<Void, any Error>] { state.withLock { Array($0.tasks.values) } }

    private func end(_ number: Int) {
        state.withLock { $0.tasks[number] = nil }
    }
}
