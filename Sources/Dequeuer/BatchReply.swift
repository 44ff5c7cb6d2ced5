import ContainerHTTP
import Core
import NIOCore
import Support

/// A container's reply to a batch, with status 200: what of it is recorded (contract B6, B8).
struct BatchReply: Sendable {
    /// The result of the items that succeeded; `nil` when the reply is not JSON.
    var result: Body?
    /// Whether ``result`` is an array with one element for each of these items.
    var isSplit: Bool
    /// The positions of the items that failed in the batch, ascending.
    var failed: [Int]
    /// The items that failed, as the body of another delivery; `nil` when all items failed, or none.
    var rest: Body?
    /// What is to be discarded if the reply is not recorded.
    var writers: [any BodyWriter] = []
}

/// Checks a reply while it is read: whether it is JSON, and whether it has one element for each item. Pure.
struct BatchReplyCheck: Sendable {
    private let items: Int
    /// `nil` as soon as it is known that the reply is not split.
    private var elements: JSONElements?
    private var validator = JSONValidator()
    private var hasBegun = false

    /// - Parameters:
    ///   - items: items in the batch.
    ///   - isWhole: whether the container asked for one line (`X-Cortex-Results: batch`).
    init(items: Int, isWhole: Bool) {
        self.items = items
        self.elements = isWhole ? nil : JSONElements()
    }

    /// Whether the bytes so far can be the beginning of one JSON text.
    var mayBeJSON: Bool { validator.problem == nil }

    /// Takes the next piece of the reply.
    ///
    /// - Returns: the bytes of the piece without white space around the text; empty when the reply is not JSON.
    mutating func consume(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let wasComplete = validator.isValueComplete
        guard validator.consume(bytes) else {
            elements = nil
            return .init(start: nil, count: 0)
        }
        if wasComplete { return .init(start: nil, count: 0) }
        var text = bytes[...]
        if !hasBegun { text = text.drop(while: JSONText.isWhiteSpace) }
        if validator.isValueComplete { while let last = text.last, JSONText.isWhiteSpace(last) { text.removeLast() } }
        if !text.isEmpty { hasBegun = true }
        let trimmed = UnsafeRawBufferPointer(rebasing: text)
        count(trimmed)
        return trimmed
    }

    private mutating func count(_ text: UnsafeRawBufferPointer) {
        guard var elements = elements.take() else { return }
        var position = 0
        while elements.count <= items, elements.next(in: text, from: &position) != nil {}
        if elements.isArray != false, elements.count <= items { self.elements = elements }
    }

    /// Ends the reply. It is split when it is an array with as many elements as items were sent.
    mutating func finish() -> (isJSON: Bool, isSplit: Bool) {
        guard validator.finish() else { return (false, false) }
        return (true, elements.map { $0.isArray == true && $0.count == items } ?? false)
    }
}

/// Reads the reply to a batch as it arrives: checks, counts and stores it piece by piece. A reply that is not JSON is
/// read to its end and not stored.
struct BatchReplyReader {
    let request: ClaimedRequest
    let store: any RequestQueue
    let maxResult: Int64
    /// The `Content-Length` of the reply.
    let announced: Int64?
    /// Items in the batch.
    private let count: Int
    /// The positions of those that failed, ascending.
    private let failed: [Int]
    private var check: BatchReplyCheck
    private var body: BodyCollector
    private var size: Int64 = 0

    init(
        request: ClaimedRequest, items: Int, failed: [Int], isWhole: Bool, store: any RequestQueue, maxResult: Int64,
        announced: Int64?
    ) {
        self.request = request
        self.store = store
        self.maxResult = maxResult
        self.announced = announced
        self.count = items
        self.failed = failed
        self.check = BatchReplyCheck(items: items, isWhole: isWhole)
        self.body = BodyCollector(store: store)
    }

    mutating func read(
        _ connection: ContainerConnection, isolation: isolated (any Actor)? = #isolation
    ) async -> ExchangeEnd {
        do {
            if let end = try await readAll(connection) {
                await body.discard()
                return end
            }
            return .replied(try await reply())
        } catch {
            await body.discard()
            return .notStored(error)
        }
    }

    /// - Returns: `nil` when all of the reply was read.
    private mutating func readAll(
        _ connection: ContainerConnection, isolation: isolated (any Actor)? = #isolation
    ) async throws -> ExchangeEnd? {
        while true {
            switch await connection.next() {
            case .body(let buffer):
                size += Int64(buffer.readableBytes)
                guard size <= maxResult else { return .invalidAnswer(Verdict.tooLarge(maxResult)) }
                buffer.withUnsafeReadableBytes { body.append(check.consume($0)) }
                // When every item failed, nothing of the reply is recorded.
                if !check.mayBeJSON || failed.count == count {
                    await body.discard()
                } else if body.isFull {
                    try await body.write()
                }
            case .end: return nil
            case .lost(.malformed(let reason)), .lost(.headTooLarge(let reason)):
                return .invalidAnswer(BatchVerdict.unreadable(reason))
            case .lost(.closed), .head:
                return .lost(afterBytes: size, of: announced)
            }
        }
    }

    /// What is recorded of the reply, once all of it was read.
    private mutating func reply(isolation: isolated (any Actor)? = #isolation) async throws -> BatchReply {
        let (isJSON, isSplit) = check.finish()
        var reply = BatchReply(isSplit: isSplit, failed: failed)
        guard failed.count < count else { return reply }
        do {
            if isJSON {
                reply.result = try await body.finish()
                reply.writers = [body.writer].compactMap { $0 }
            } else {
                await body.discard()
            }
            guard !failed.isEmpty else { return reply }
            if isSplit, let whole = reply.result {
                let part = try await cut(whole, keeping: BatchVerdict.complement(of: failed, count: count))
                for writer in reply.writers { await writer.discard() }
                reply.result = part.body
                reply.writers = part.writers
            }
            let rest = try await cut(request.payload, keeping: failed)
            reply.rest = rest.body
            reply.writers += rest.writers
            return reply
        } catch {
            for writer in reply.writers { await writer.discard() }
            throw error
        }
    }

    /// An array of the elements at `positions` of an array.
    private func cut(
        _ array: Body, keeping positions: [Int], isolation: isolated (any Actor)? = #isolation
    ) async throws -> (body: Body, writers: [any BodyWriter]) {
        let missing = PlatformError(.internal, "A batch or its reply has fewer elements than items.")
        if case .inline(let bytes) = array {
            guard let part = JSONArrayCut.cut(bytes, keeping: positions) else { throw missing }
            return (.inline(part), [])
        }
        var part = BodyCollector(store: store)
        let reader = try await store.reader(of: array)
        do {
            var cut = JSONArrayCut(keeping: positions)
            while !cut.isComplete, let piece = try await reader.read(upTo: Limits.bodyPiece) {
                part.append(cut.consume(piece))
                if part.isFull { try await part.write() }
            }
            guard cut.isComplete else { throw missing }
            part.append(JSONArrayCut.end)
            let body = try await part.finish()
            await reader.close()
            return (body, [part.writer].compactMap { $0 })
        } catch {
            await reader.close()
            await part.discard()
            throw error
        }
    }
}
