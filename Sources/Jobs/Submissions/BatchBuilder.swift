import Core

/// Makes the batches of a job from its items, one after the other, with bounded memory: a large body goes to the store
/// while it grows, and batches are handed over in portions (contract B2, B3).
///
/// Used by one task. Ends with ``finish()`` or ``discard()``.
struct BatchBuilder {
    /// A portion is handed over when it has this many batches or bytes.
    private static let portionCount = 1000
    private static let portionBytes = 1 << 20

    private let store: any Store
    private let job: RequestID
    private let size: Int
    /// Stores a portion as soon as it is full; without it, the owner looks at ``isPortionFull``.
    private let handOver: (([Batch]) async throws -> Void)?
    private var body: [UInt8] = []
    private var count = 0
    private var writer: (any BodyWriter)?
    private var portion: [Batch] = []
    private var portionSize = 0
    /// Those of ``portion`` whose bodies are outside their rows.
    private var writers: [any BodyWriter] = []
    private(set) var nextBatch: Int64
    /// The index of the next item, unless its own is given.
    private(set) var nextItem: Int64
    /// The indexes of the present batch, where they are given.
    private var indexes: [Int64] = []

    /// - Parameters:
    ///   - size: the number of items of each batch but the last.
    ///   - nextBatch: the index of the first batch.
    ///   - nextItem: the index of the first item.
    init(
        store: any Store, job: RequestID, size: Int, nextBatch: Int64 = 0, nextItem: Int64 = 0,
        handOver: (([Batch]) async throws -> Void)? = nil
    ) {
        self.store = store
        self.job = job
        self.size = size
        self.nextBatch = nextBatch
        self.nextItem = nextItem
        self.handOver = handOver
    }

    /// The number of items that are not in a batch yet.
    var pending: Int { count }

    /// Adds an item, byte for byte.
    ///
    /// - Parameter index: its index in the job, above that of the item before; `nil`: the next one. Either all items
    ///   have one, or none.
    mutating func add(_ item: some Collection<UInt8>, index: Int64? = nil) async throws {
        if let index { indexes.append(index) }
        body.append(UInt8(ascii: count == 0 ? "[" : ","))
        body.append(contentsOf: item)
        count += 1
        if count == size {
            try await closeBatch()
        } else if body.count >= Limits.bodyPiece {
            try await spill()
        }
    }

    /// Ends the present batch, although it has fewer items than others.
    mutating func closeBatch() async throws {
        guard count > 0 else { return }
        body.append(UInt8(ascii: "]"))
        let stored: Body
        if writer != nil || body.count > Limits.inlineBody {
            try await spill()
            guard let writer else { return }
            stored = try await writer.finish()
            writers.append(writer)
            self.writer = nil
        } else {
            stored = .inline(body)
        }
        let items = indexes.isEmpty ? ItemSet(nextItem..<nextItem + Int64(count)) : ItemSet(indexes)
        indexes.removeAll(keepingCapacity: true)
        portion.append(Batch(index: nextBatch, of: job, items: items, body: stored))
        portionSize += body.count
        body.removeAll(keepingCapacity: true)
        nextBatch += 1
        nextItem += Int64(count)
        count = 0
        if let handOver, isPortionFull { try await handOverPortion(to: handOver) }
    }

    /// Whether enough batches are complete.
    var isPortionFull: Bool { portion.count >= Self.portionCount || portionSize >= Self.portionBytes }

    /// Hands over what is complete. The bodies belong to the store then, also when it reports a failure: the batches
    /// may be stored all the same. Its next start removes bodies that belong to no job.
    ///
    /// - Parameter always: also when nothing is complete.
    mutating func handOverPortion(always: Bool = false, to store: ([Batch]) async throws -> Void) async throws {
        guard always || !portion.isEmpty else { return }
        let batches = portion
        forgetPortion()
        try await store(batches)
    }

    /// Ends the last batch.
    ///
    /// - Returns: the batches that were not handed over; the caller stores them, or calls ``discard()``.
    mutating func finish() async throws -> [Batch] {
        try await closeBatch()
        return portion
    }

    /// Removes the bodies that no batch of the store refers to. Never throws.
    mutating func discard() async {
        await writer?.discard()
        for writer in writers { await writer.discard() }
        writer = nil
        forgetPortion()
    }

    private mutating func forgetPortion() {
        portion = []
        portionSize = 0
        writers = []
    }

    private mutating func spill() async throws {
        let target = if let writer { writer } else { try await store.makeBodyWriter() }
        writer = target
        try await target.write(body)
        body.removeAll(keepingCapacity: true)
    }
}
