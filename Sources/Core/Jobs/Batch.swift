/// Items of a job that are delivered together.
package struct Batch: Sendable, Hashable {
    /// The id of its request in the job's queue. Ids of a job ascend with the index.
    package let id: RequestID
    /// From 0 in its job; ``completionIndex`` for the call after the last batch.
    package var index: Int64
    package var items: ItemSet
    /// `[item,item,…]`
    package var body: Body

    package static let completionIndex: Int64 = -1

    package init(index: Int64, of job: RequestID, items: ItemSet, body: Body) {
        self.id = Self.id(index: index, of: job)
        self.index = index
        self.items = items
        self.body = body
    }

    /// The id of a batch. Those of one job ascend with the index, the call after the last batch comes last. Ids of two
    /// jobs differ unless 30 random bits and the time of the jobs are equal.
    package static func id(index: Int64, of job: RequestID) -> RequestID {
        let place = index == completionIndex ? UInt64(UInt32.max) : UInt64(UInt32(clamping: index))
        return RequestID(high: job.high, low: 0x8000_0000_0000_0000 | (job.low & 0x3FFF_FFFF) << 32 | place)
    }
}

/// What a claimed request is, when it is a batch.
package struct BatchPlace: Sendable, Hashable {
    /// ``Batch/completionIndex`` for the call after the last batch.
    package var index: Int64
    package var items: ItemSet

    package init(index: Int64, items: ItemSet) {
        self.index = index
        self.items = items
    }

    package var isCompletion: Bool { index == Batch.completionIndex }
}

/// How a delivery of a batch ended. The store records it in one step with the counts of the job.
package struct BatchOutcome: Sendable, Hashable {
    /// What becomes of the batch.
    package enum Next: Sendable, Hashable {
        /// All its items have a line.
        case ended
        /// The items without a line are delivered again, from `notBefore`.
        case retry(RequestFailure, notBefore: Timestamp)
    }

    /// The results to record, in this order.
    package var lines: [ResultLine]
    package var next: Next
    /// The items that did not succeed, when others did: their set and their body in place of the batch's. They are
    /// delivered again, or kept for ``RequestPolicy/keepFailed``.
    package var remainder: Remainder?
    /// How long the delivery took; it counts when all items succeeded.
    package var duration: Duration

    package struct Remainder: Sendable, Hashable {
        package var items: ItemSet
        package var body: Body

        package init(items: ItemSet, body: Body) {
            self.items = items
            self.body = body
        }
    }

    package init(lines: [ResultLine], next: Next, remainder: Remainder? = nil, duration: Duration) {
        self.lines = lines
        self.next = next
        self.remainder = remainder
        self.duration = duration
    }
}

/// One record of results: a line, or the lines of an array that is split (contract B8).
package struct ResultLine: Sendable, Hashable {
    package enum Verdict: Sendable, Hashable {
        /// The reply without white space around it; `nil` when it is not JSON. With `isSplit` it is an array with one
        /// element for each of the items, which is its result, unless the job's batches have one item.
        case succeeded(reply: Body?, isSplit: Bool)
        case failed(RequestFailure)
    }

    package var items: ItemSet
    package var verdict: Verdict

    package init(items: ItemSet, verdict: Verdict) {
        self.items = items
        self.verdict = verdict
    }
}

/// A line as the store has it.
package struct RecordedLine: Sendable, Hashable {
    /// From 1, without gaps, in the order in which the lines of the job were recorded.
    package var number: Int64
    /// Deliveries up to this line that counted.
    package var attempts: Int
    package var line: ResultLine

    package init(number: Int64, attempts: Int, line: ResultLine) {
        self.number = number
        self.attempts = attempts
        self.line = line
    }
}

/// A batch that has not succeeded, as the store has it.
package struct StoredBatch: Sendable, Hashable {
    package enum State: String, Sendable, Hashable, Codable, CaseIterable {
        case inQueue = "in_queue"
        case inProgress = "in_progress"
        case failed
        case cancelled
    }

    package var batch: Batch
    package var state: State
    /// Whether the body is still there.
    package var isKept: Bool
    package var attempts: Int
    /// Of a failed batch.
    package var failure: RequestFailure?

    package init(batch: Batch, state: State, isKept: Bool, attempts: Int, failure: RequestFailure? = nil) {
        self.batch = batch
        self.state = state
        self.isKept = isKept
        self.attempts = attempts
        self.failure = failure
    }
}
