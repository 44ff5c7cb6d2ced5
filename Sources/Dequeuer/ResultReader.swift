import Core
import NIOCore

/// Reads a container's JSON as it comes: checked, counted and stored piece by piece, so that its size does not matter to the memory.
struct ResultReader {
    let store: any Store
    let maxResult: Int64
    private var validator = JSONValidator()
    private var gathered: [UInt8] = []
    private var size: Int64 = 0
    private var writer: (any BodyWriter)?

    init(store: any Store, maxResult: Int64) {
        self.store = store
        self.maxResult = maxResult
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
            return .storeTrouble(error)
        }
    }

    private mutating func readAll(
        _ connection: ContainerConnection, isolation: isolated (any Actor)? = #isolation
    ) async throws -> ExchangeEnd {
        while true {
            switch await connection.next() {
            case .body(let buffer):
                size += Int64(buffer.readableBytes)
                guard size <= maxResult else { return .answeredWrongly(Verdict.tooLarge(maxResult)) }
                buffer.withUnsafeReadableBytes { _ = validator.consume($0) }
                if let problem = validator.problem { return .answeredWrongly(Verdict.invalidJSON(problem)) }
                gathered += buffer.readableBytesView
                if gathered.count >= Limits.bodyPiece { try await write() }
            case .end:
                guard validator.finish() else {
                    let problem = validator.problem ?? .init(offset: size, reason: "it ends too early")
                    return .answeredWrongly(Verdict.invalidJSON(problem))
                }
                if writer == nil, gathered.count <= Limits.inlineBody {
                    return .completed(.inline(gathered), writer: nil)
                }
                try await write()
                guard let writer else { return .lost }
                return .completed(try await writer.finish(), writer: writer)
            case .lost(.malformed(let reason)):
                return .answeredWrongly(
                    RequestFailure(.containerInvalidJSON, "The container's answer could not be read: \(reason)."))
            case .lost(.closed), .head:
                return .lost
            }
        }
    }

    private mutating func write(isolation: isolated (any Actor)? = #isolation) async throws {
        let writer: any BodyWriter
        if let present = self.writer {
            writer = present
        } else {
            writer = try await store.makeBodyWriter()
            self.writer = writer
        }
        // The writer keeps what it is given; it must not have to copy it.
        let piece = gathered
        gathered = []
        if !piece.isEmpty { try await writer.write(piece) }
    }
}
