/// Lines of a container or of an API's replicas, read at the reader's speed.
///
/// A value of this type costs nothing until ``read(_:)`` is called, and may be dropped without it.
package struct LogStream<Batch: Sendable>: Sendable {
    /// Takes a batch; returns when there is space for the next one.
    package typealias Write = @Sendable (Batch) async throws -> Void

    private let copy: @Sendable (@escaping Write) async throws -> Void

    /// - Parameter copy: hands batches to its argument and waits for each call. It returns at the end of the lines and
    ///   ends within 100 ms when its task is cancelled or when a call throws.
    package init(_ copy: @escaping @Sendable (@escaping Write) async throws -> Void) {
        self.copy = copy
    }

    /// Reads all lines. The source waits while `write` runs; cancelling the task ends the work.
    ///
    /// - Throws: what ended the lines early, and what `write` throws.
    package func read(_ write: @escaping Write) async throws {
        try await copy(write)
    }
}

/// Lines that one container of a replica wrote.
package struct ReplicaLogBatch: Sendable, Hashable {
    package var replica: String
    package var container: String
    /// Whole lines, each with a line feed at its end. A line is valid UTF-8 of at most ``Limits/logLine`` bytes.
    package var lines: [UInt8]
    /// The worker of a job that wrote them; `nil` for a replica of an API.
    package var worker: PodOwner.Worker?

    package init(replica: String, container: String, lines: [UInt8], worker: PodOwner.Worker? = nil) {
        self.replica = replica
        self.container = container
        self.lines = lines
        self.worker = worker
    }
}

/// The end of a container's log, and what shows whether more was written since.
package struct LogExcerpt: Sendable, Hashable {
    package var lines: [String]
    /// For the next call; only the engine that made it can read it.
    package var mark: String

    package init(lines: [String], mark: String) {
        self.lines = lines
        self.mark = mark
    }
}
