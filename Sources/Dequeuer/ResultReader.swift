import ContainerHTTP
import Core
import NIOCore
import Support

/// Reads a container's result as it arrives: checks, counts and stores it piece by piece, so that a large result does
/// not fill the memory.
struct ResultReader {
    let maxResult: Int64
    /// The `Content-Length` of the answer.
    let announced: Int64?
    private var validator = JSONValidator()
    private var body: BodyCollector
    private var size: Int64 = 0

    init(store: any RequestQueue, maxResult: Int64, announced: Int64? = nil) {
        self.maxResult = maxResult
        self.announced = announced
        self.body = BodyCollector(store: store)
    }

    mutating func read(
        _ connection: ContainerConnection, isolation: isolated (any Actor)? = #isolation
    ) async -> ExchangeEnd {
        do {
            let end = try await readAll(connection)
            if case .completed = end { return end }
            await body.discard()
            return end
        } catch {
            await body.discard()
            return .notStored(error)
        }
    }

    private mutating func readAll(
        _ connection: ContainerConnection, isolation: isolated (any Actor)? = #isolation
    ) async throws -> ExchangeEnd {
        while true {
            switch await connection.next() {
            case .body(let buffer):
                size += Int64(buffer.readableBytes)
                guard size <= maxResult else { return .invalidAnswer(Verdict.tooLarge(maxResult)) }
                buffer.withUnsafeReadableBytes { _ = validator.consume($0) }
                if let problem = validator.problem { return .invalidAnswer(Verdict.invalidJSON(problem)) }
                body.append(buffer.readableBytesView)
                if body.isFull { try await body.write() }
            case .end:
                guard validator.finish() else {
                    let problem = validator.problem ?? .init(offset: size, reason: "it ends too early")
                    return .invalidAnswer(Verdict.invalidJSON(problem))
                }
                if let bytes = body.inline { return .completed(.inline(bytes), writer: nil) }
                return .completed(try await body.finish(), writer: body.writer)
            case .lost(.malformed(let reason)), .lost(.headTooLarge(let reason)):
                return .invalidAnswer(Verdict.unreadable(reason))
            case .lost(.closed), .head:
                return .lost(afterBytes: size, of: announced)
            }
        }
    }
}

extension ExchangeEnd {
    /// The connection was lost within the body of the answer.
    static func lost(afterBytes size: Int64, of announced: Int64?) -> ExchangeEnd {
        let expected = announced.map { " of \($0)" } ?? ""
        return .lost(
            "The connection to the container was lost after \(size)\(expected) bytes of the body of its answer.")
    }
}

/// Collects a body piece by piece: a small one in memory, a larger one in the store.
struct BodyCollector {
    let store: any RequestQueue
    private var gathered: [UInt8] = []
    /// Set as soon as the body is larger than fits into the memory.
    private(set) var writer: (any BodyWriter)?

    init(store: any RequestQueue) {
        self.store = store
    }

    /// Whether ``write(isolation:)`` should be called before the next piece.
    var isFull: Bool { gathered.count >= Limits.bodyPiece }

    /// The whole body, if it is small.
    var inline: [UInt8]? { writer == nil && gathered.count <= Limits.inlineBody ? gathered : nil }

    mutating func append(_ bytes: some Sequence<UInt8>) { gathered += bytes }

    /// Writes what was collected into the store.
    mutating func write(isolation: isolated (any Actor)? = #isolation) async throws {
        let writer: any BodyWriter
        if let present = self.writer {
            writer = present
        } else {
            writer = try await store.makeBodyWriter()
            self.writer = writer
        }
        // The writer keeps the array; without another owner it is not copied.
        let piece = gathered
        gathered = []
        if !piece.isEmpty { try await writer.write(piece) }
    }

    /// The body, durable. One with a ``writer`` is the caller's to discard if it is not used.
    mutating func finish(isolation: isolated (any Actor)? = #isolation) async throws -> Body {
        if let inline { return .inline(inline) }
        try await write()
        guard let writer else { return .empty }
        return try await writer.finish()
    }

    /// Discards what was collected, and begins again.
    mutating func discard(isolation: isolated (any Actor)? = #isolation) async {
        gathered = []
        let writer = writer.take()
        await writer?.discard()
    }
}
