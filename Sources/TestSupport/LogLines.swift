package import Core

extension LogStream<[UInt8]> {
    /// Line by line, without backpressure.
    package var lines: AsyncThrowingStream<String, any Error> {
        unfolded { batch in batch.logLines }
    }
}

extension LogStream<ReplicaLogBatch> {
    /// Line by line, without backpressure.
    package var lines: AsyncThrowingStream<ReplicaLogLine, any Error> {
        unfolded { batch in
            batch.lines.logLines.map {
                ReplicaLogLine(replica: batch.replica, container: batch.container, text: $0)
            }
        }
    }
}

extension LogStream {
    fileprivate func unfolded<Line: Sendable>(
        _ split: @escaping @Sendable (Batch) -> [Line]
    ) -> AsyncThrowingStream<Line, any Error> {
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: Line.self)
        let task = Task {
            do {
                try await read { batch in for line in split(batch) { continuation.yield(line) } }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }
}

extension [UInt8] {
    /// The lines of a batch.
    package var logLines: [String] {
        split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
            .map { String(decoding: $0, as: UTF8.self) }
    }
}

/// One line that a container wrote.
package struct ReplicaLogLine: Sendable, Hashable {
    package var replica: String
    package var container: String
    package var text: String

    package init(replica: String, container: String, text: String) {
        self.replica = replica
        self.container = container
        self.text = text
    }

    package var batch: ReplicaLogBatch {
        ReplicaLogBatch(replica: replica, container: container, lines: Array("\(text)\n".utf8))
    }
}
