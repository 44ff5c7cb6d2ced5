import Core
import Logging
import Support

/// Calls of the engine. Each has a deadline, and is waited for no longer than that, also when the engine ignores its
/// cancellation.
extension LocalOrchestrator {
    /// Asks the engine for something.
    ///
    /// - Throws: `engine_unavailable` after `limit`; `CancellationError` at once when the calling task is cancelled;
    ///   what the engine throws.
    nonisolated func ask<Value: Sendable>(
        _ name: String, _ subject: String, limit: Duration,
        _ call: @escaping @Sendable (any Engine) async throws -> Value
    ) async throws -> Value {
        try await naming(name, limit) {
            try await withTimeLimit(limit, clock: clock) { [engine] in
                try await withOperation(name, subject) { try await call(engine) }
            }
        }
    }

    /// Runs an operation that changes a pod. ``stop(_:)`` cancels it and then waits a moment for its end, so that two
    /// operations rarely meet in the engine.
    ///
    /// - Throws: as ``ask(_:_:limit:_:)``.
    func operate(
        _ name: String, on id: String, limit: Duration, _ call: @escaping @Sendable (any Engine) async throws -> Void
    ) async throws {
        try Task.checkCancellation()
        operationCount += 1
        let number = operationCount
        // A task of its own: the operation may outlive everything that waits for it.
        let task = Task { [engine] in
            defer { pods[id]?.operations[number] = nil }
            try await withOperation(name, id) { try await call(engine) }
        }
        pods[id]?.operations[number] = task
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

    /// Waits until the operations on a pod have ended, which ``stop(_:)`` has cancelled; no longer than
    /// ``Limits/engineCancellation``.
    func waitForOperations(on id: String) async {
        guard let operations = pods[id]?.operations.values, !operations.isEmpty else { return }
        do {
            try await withTimeLimit(Limits.engineCancellation, clock: clock) {
                for operation in operations { _ = await operation.result }
            }
        } catch {
            if Task.isCancelled { return }
            logger.warning(
                "the engine does not heed the cancellation of an operation; going on without it",
                metadata: ["replica": "\(id)"])
        }
    }

    /// An error of the engine for the log, as a sentence or a part of one. An engine that ends may cancel what others
    /// still wait for.
    nonisolated func words(for error: any Error) -> String {
        error is CancellationError ? "the container engine did not carry the operation out" : "\(error)"
    }

    private nonisolated func naming<Value: Sendable>(
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
