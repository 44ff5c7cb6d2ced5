/// Does a piece of work once at a time: callers that ask while it is being done share its outcome.
actor SingleFlight<Value: Sendable> {
    private var current: Task<Value, any Error>?

    func run(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        if let current { return try await current.value }
        // Not a child of the caller: others wait for it too, so the caller's cancellation is not its own.
        let task = Task { try await body() }
        current = task
        defer { current = nil }
        return try await task.value
    }
}
