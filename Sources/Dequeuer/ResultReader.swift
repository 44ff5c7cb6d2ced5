import ContainerHTTP
import Core
import NIOCore
import Support

/// Reads a container's result as it arrives: checks, counts and stores it piece by piece, so that a large result does
/// not fill the memory.
struct ResultReader {
    let store: any RequestQueue
    let maxResult: Int64
    /// The `Content-Length` of the answer.
    let announced: Int64?
    private var validator = JSONValidator()
    private var gathered: [UInt8] = []
    private var size: Int64 = 0
    private var writer: (any BodyWriter)?

    init(store: any RequestQueue, maxResult: Int64, announced: Int64? = nil) {
        self.store = store
        self.maxResult = maxResult
        self.announced = announced
    }

    mutating func read(
        _ connection: ContainerConnection, isolation: isolated (any Actor)? = #isolation
    ) async -> ExchangeEnd {
        do {
            let end = try await readAll(connection)
            if case .completed = end { return end }
            await writer?.discard()
            return end
        } catch {
            await writer?.discard()
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
                gathered += buffer.readableBytesView
                if gathered.count >= Limits.bodyPiece { try await write() }
            case .end:
                guard validator.finish() else {
                    let problem = validator.problem ?? .init(offset: size, reason: "it ends too early")
                    return .invalidAnswer(Verdict.invalidJSON(problem))
                }
                if writer == nil, gathered.count <= Limits.inlineBody {
                    return .completed(.inline(gathered), writer: nil)
                }
                try await write()
                guard let writer else { return lost }
                return .completed(try await writer.finish(), writer: writer)
            case .lost(.malformed(let reason)), .lost(.headTooLarge(let reason)):
                return .invalidAnswer(Verdict.unreadable(reason))
            case .lost(.closed), .head:
                return lost
            }
        }
    }

    private var lost: ExchangeEnd {
        let expected = announced.map { " of \($0)" } ?? ""
        return .lost(
            "The connection to the container was lost after \(size)\(expected) bytes of the body of its answer.")
    }

    private mutating func write(isolation: isolated (any Actor)? = #isolation) async throws {
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
}
