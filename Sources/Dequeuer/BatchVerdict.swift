import Core
import NIOHTTP1
import Support

/// What a container's reply to a batch counts as, and what is recorded of it (contract B6–B8, B11). Pure.
enum BatchVerdict {
    /// The fields of a reply's head that the platform reads besides those of ``AnswerHead``.
    struct Fields: Sendable, Hashable {
        /// The values of all `X-Cortex-Failed-Items` fields.
        var failedItems: [String] = []
        /// The values of all `X-Cortex-Results` fields.
        var results: [String] = []

        /// Whether the container asks for one line for the whole batch.
        var isWhole: Bool { results.contains { trimmed($0).lowercased() == "batch" } }

        /// The positions of the items that failed, ascending, each once.
        ///
        /// - Returns: `nil` when a value is not a list of positions in the batch. Empty parts of a list do not count
        ///   (RFC 9110, section 5.6.1).
        func failedPositions(items: Int) -> [Int]? {
            var positions: Set<Int> = []
            for value in failedItems {
                for part in value.utf8.split(separator: UInt8(ascii: ",")) {
                    let digits = trimmed(Substring(part))
                    if digits.isEmpty { continue }
                    guard digits.utf8.allSatisfy({ $0 &- 48 < 10 }), let position = Int(digits), position < items
                    else { return nil }
                    positions.insert(position)
                }
            }
            return positions.sorted()
        }

        private func trimmed(_ text: some StringProtocol) -> String {
            func isBlank(_ character: Character) -> Bool { character == " " || character == "\t" }
            return String(String(text.drop(while: isBlank).reversed().drop(while: isBlank)).reversed())
        }
    }

    // MARK: Judging a reply

    /// What follows from the head of a reply alone.
    static func of(_ head: AnswerHead, _ fields: Fields, place: BatchPlace, maxResult: Int64) -> Verdict.OfHead {
        // What follows a switch of protocols is not HTTP.
        guard head.status >= 200 else { return .failed(Verdict.wrongStatus(head.status, body: [])) }
        guard head.status == 200 else { return .readText(status: head.status) }
        guard !place.isCompletion else { return .acknowledge }
        if let length = head.contentLength, length > maxResult { return .failed(Verdict.tooLarge(maxResult)) }
        let items = place.items.count
        guard let failed = fields.failedPositions(items: items) else {
            return .failed(malformed(fields.failedItems.joined(separator: ", "), items: items))
        }
        return .readReply(failed: failed, isWhole: fields.isWhole)
    }

    /// The positions below `count` that are not in `positions`.
    ///
    /// - Parameter positions: ascending.
    static func complement(of positions: [Int], count: Int) -> [Int] {
        var rest = positions[...]
        return (0..<count).filter { position in
            guard rest.first == position else { return true }
            rest = rest.dropFirst()
            return false
        }
    }

    // MARK: What is recorded

    /// A delivery, as far as it decides what follows.
    struct Attempt: Sendable {
        var items: ItemSet
        var retries: RetryPolicy
        /// Deliveries before this one that counted.
        var earlier: Int
        var now: Timestamp
        /// Evenly from 0 up to 1; spreads the delay before another delivery.
        var chance: Double
        var duration: Duration
    }

    /// What is recorded of a delivery with a reply.
    static func outcome(of reply: BatchReply, _ attempt: Attempt) -> BatchOutcome {
        func succeeded(_ items: ItemSet) -> ResultLine {
            ResultLine(items: items, verdict: .succeeded(reply: reply.result, isSplit: reply.isSplit))
        }
        guard !reply.failed.isEmpty else {
            return BatchOutcome(lines: [succeeded(attempt.items)], next: .ended, duration: attempt.duration)
        }
        let count = attempt.items.count
        let failed = attempt.items.at(reply.failed)
        var outcome = outcome(of: itemsFailed(reply.failed.count, of: count), items: failed, attempt)
        guard reply.failed.count < count else { return outcome }
        outcome.lines.insert(succeeded(attempt.items.at(complement(of: reply.failed, count: count))), at: 0)
        outcome.remainder = reply.rest.map { .init(items: failed, body: $0) }
        return outcome
    }

    /// What is recorded of a delivery that failed.
    ///
    /// - Parameters:
    ///   - items: those that failed; `nil` for all of the batch.
    ///   - isFinal: whether no other delivery follows, whatever the policy says.
    static func outcome(
        of failure: RequestFailure, items: ItemSet? = nil, isFinal: Bool = false, _ attempt: Attempt
    ) -> BatchOutcome {
        if !isFinal, let notBefore = attempt.retryTime(after: failure) {
            return BatchOutcome(lines: [], next: .retry(failure, notBefore: notBefore), duration: attempt.duration)
        }
        let line = ResultLine(items: items ?? attempt.items, verdict: .failed(failure))
        return BatchOutcome(lines: [line], next: .ended, duration: attempt.duration)
    }

    /// What is recorded of a call after the last batch that failed (contract B11).
    static func completion(of failure: RequestFailure, isFinal: Bool = false, _ attempt: Attempt) -> Outcome {
        if failure.kind == .containerStatus, failure.statusCode == 404 { return .completion(.notHandled) }
        guard !isFinal, let notBefore = attempt.retryTime(after: failure) else {
            return .completion(.failed(failure))
        }
        return .retry(failure, notBefore: notBefore)
    }

    // MARK: Failures

    /// A reply that is not HTTP/1.1, or not within its limits.
    ///
    /// - Parameter reason: ends the sentence "The container's answer could not be read: …".
    static func unreadable(_ reason: String) -> RequestFailure {
        var failure = Verdict.unreadable(reason)
        failure.kind = .containerMalformed
        return failure
    }

    private static func malformed(_ value: String, items: Int) -> RequestFailure {
        let wanted = items == 1 ? "the batch has one item, at position 0" : "positions are 0 to \(items - 1)"
        return RequestFailure(
            .containerMalformed,
            "The container's X-Cortex-Failed-Items (\(JSONText.quoted(String(value.prefix(100))))) is not a list of positions in the batch, such as 0,2; \(wanted)."
        )
    }

    private static func itemsFailed(_ failed: Int, of count: Int) -> RequestFailure {
        let items = count == 1 ? "the item" : "\(failed) of \(count) items"
        return RequestFailure(
            .itemFailed,
            "The container reported \(items) as failed (X-Cortex-Failed-Items); its logs may say more (cortex logs).")
    }
}

extension BatchVerdict.Attempt {
    /// When another delivery may begin; `nil` when none follows.
    func retryTime(after failure: RequestFailure) -> Timestamp? {
        retries.retryTime(after: failure, earlier: earlier, ofBatch: true, now: now, chance: chance)
    }
}
