import Core
import TestSupport
import Testing

@testable import Dequeuer

@Suite("Verdict on the reply to a batch")
struct BatchVerdictTests {
    private static let place = BatchPlace(index: 3, items: ItemSet(12..<16))

    private func verdict(
        _ status: Int, types: [String] = [], length: Int64? = nil, failed: [String] = [], results: [String] = [],
        place: BatchPlace = place
    ) -> Verdict.OfHead {
        BatchVerdict.of(
            AnswerHead(status: status, contentTypes: types, contentLength: length),
            .init(failedItems: failed, results: results), place: place, maxResult: 10)
    }

    private func kind(_ verdict: Verdict.OfHead) -> RequestFailure.Kind? {
        if case .failed(let failure) = verdict { failure.kind } else { nil }
    }

    @Test(
        "B6: status 200 is success, whatever the type of the reply",
        arguments: [[], ["application/json"], ["text/html"], ["application/json", "image/png"]])
    func types(_ types: [String]) {
        #expect(verdict(200, types: types) == .readReply(failed: [], isWhole: false))
    }

    @Test("B6: any other status is container_status, whatever the headers", arguments: [201, 204, 301, 404, 500, 503])
    func statuses(_ status: Int) {
        #expect(verdict(status, types: ["application/json"], failed: ["x"]) == .readText(status: status))
        #expect(kind(verdict(101)) == .containerStatus)
    }

    @Test(
        "B6: X-Cortex-Failed-Items lists positions in the batch",
        arguments: [
            ([], []), ([""], []), ([" "], []), (["0"], [0]), (["3,1"], [1, 3]), ([" 2 ,\t0 "], [0, 2]),
            (["1,1"], [1]), (["0", "3"], [0, 3]), (["0,1,2,3"], [0, 1, 2, 3]), (["1,,2,"], [1, 2]), (["01"], [1]),
            (["4"], nil), (["-1"], nil), (["+1"], nil), (["a"], nil), (["1;2"], nil), (["1 2"], nil), (["1.0"], nil),
            (["[1]"], nil), (["99999999999999999999"], nil), (["1", "x"], nil), (["１"], nil),
        ] as [([String], [Int]?)])
    func failedItems(_ values: [String], _ wanted: [Int]?) {
        let verdict = verdict(200, failed: values)
        if let wanted {
            #expect(verdict == .readReply(failed: wanted, isWhole: false))
        } else {
            #expect(kind(verdict) == .containerMalformed)
        }
    }

    @Test("B6: positions are those of the batch as it was sent, also of a remainder")
    func remainder() {
        let place = BatchPlace(index: 3, items: ItemSet([12, 15]))
        #expect(verdict(200, failed: ["1"], place: place) == .readReply(failed: [1], isWhole: false))
        #expect(kind(verdict(200, failed: ["2"], place: place)) == .containerMalformed)
    }

    @Test(
        "B8: X-Cortex-Results: batch asks for one line",
        arguments: [([], false), (["batch"], true), ([" Batch "], true), (["item"], false), (["batches"], false)])
    func results(_ values: [String], _ isWhole: Bool) {
        #expect(verdict(200, results: values) == .readReply(failed: [], isWhole: isWhole))
    }

    @Test("B8: a reply that announces more than max_result fails before it is read")
    func tooLarge() {
        #expect(verdict(200, length: 10) == .readReply(failed: [], isWhole: false))
        #expect(verdict(200, length: 11) == .failed(Verdict.tooLarge(10)))
    }

    @Test("B11: on-job-complete is over with 200, whatever else the container answers with")
    func completion() {
        let place = BatchPlace(index: Batch.completionIndex, items: ItemSet(0..<0))
        #expect(verdict(200, length: 1 << 40, failed: ["x"], place: place) == .acknowledge)
        #expect(verdict(404, place: place) == .readText(status: 404))
    }

    @Test(
        "B8: a reply is split when it is an array of as many elements as items were sent",
        arguments: [
            ("[1,2]", 2, true, true), (" [1,\n[2,3]]\n", 2, true, true), ("[1]", 1, true, true),
            ("[1,2,3]", 2, true, false), ("[1]", 2, true, false), ("[]", 1, true, false),
            ("{\"a\":[1,2]}", 2, true, false),
            ("\"[1,2]\"", 2, true, false), ("12 ", 1, true, false), ("null", 2, true, false),
            ("[1,2", 2, false, false), ("[1,2] x", 2, false, false), ("", 1, false, false), ("NaN", 1, false, false),
            ("<html>", 2, false, false), ("[1,2]]", 2, false, false), ("\u{FEFF}[1,2]", 2, false, false),
        ])
    func split(_ text: String, items: Int, isJSON: Bool, isSplit: Bool) {
        let whole = bytes(text)
        for size in 1...max(1, whole.count) {
            var check = BatchReplyCheck(items: items, isWhole: false)
            var asOne = BatchReplyCheck(items: items, isWhole: true)
            var kept: [UInt8] = []
            for start in stride(from: 0, to: whole.count, by: size) {
                whole[start..<min(start + size, whole.count)].withUnsafeBytes { piece in
                    kept += check.consume(piece)
                    _ = asOne.consume(piece)
                }
            }
            let (json, split) = check.finish()
            #expect(json == isJSON && split == isSplit, "pieces of \(size)")
            #expect(asOne.finish() == (isJSON, false))
            if isJSON { #expect(kept == Array(JSONText.trimmed(whole)), "pieces of \(size)") }
        }
    }

    // MARK: What is recorded

    private static func attempt(_ earlier: Int = 0, on: Set<RetryPolicy.Reason> = [.unreachable])
        -> BatchVerdict.Attempt
    {
        .init(
            items: ItemSet(12..<16), retries: RetryPolicy(maxAttempts: 3, on: on, backoff: .seconds(1)),
            earlier: earlier, now: Timestamp(seconds: 100), chance: 0.5, duration: .seconds(2))
    }

    private static let reply = BatchReply(
        result: .inline(bytes("[1,2]")), isSplit: true, failed: [1, 2], rest: .inline(bytes("[b,c]")))

    @Test("B6: a success is one record for the batch, with the time that the delivery took")
    func success() {
        let reply = BatchReply(result: .inline(bytes("7")), isSplit: false, failed: [])
        let outcome = BatchVerdict.outcome(of: reply, Self.attempt())
        let line = ResultLine(
            items: ItemSet(12..<16), verdict: .succeeded(reply: .inline(bytes("7")), isSplit: false))
        #expect(outcome == BatchOutcome(lines: [line], next: .ended, duration: .seconds(2)))
    }

    @Test("B6: of a partly failed batch the rest is delivered again if retries.on has item_failed")
    func partialRetry() {
        let outcome = BatchVerdict.outcome(of: Self.reply, Self.attempt(on: [.itemFailed]))
        #expect(outcome.lines.map(\.items) == [ItemSet([12, 15])])
        #expect(outcome.remainder == .init(items: ItemSet(13..<15), body: .inline(bytes("[b,c]"))))
        guard case .retry(let failure, let moment) = outcome.next else {
            Issue.record("\(outcome.next)")
            return
        }
        #expect(failure.kind == .itemFailed && moment == Timestamp(seconds: 101))
    }

    @Test("B6: otherwise, and after the last attempt, the rest fails as item_failed and stays for a retry of the job")
    func partialFailure() {
        for attempt in [Self.attempt(), Self.attempt(2, on: [.itemFailed])] {
            let outcome = BatchVerdict.outcome(of: Self.reply, attempt)
            #expect(outcome.lines.map(\.items) == [ItemSet([12, 15]), ItemSet(13..<15)])
            guard case .failed(let failure)? = outcome.lines.last?.verdict else {
                Issue.record("\(outcome.lines)")
                return
            }
            #expect(failure.kind == .itemFailed && failure.message.contains("2 of 4 items"))
            #expect(outcome.next == .ended && outcome.remainder?.items == ItemSet(13..<15))
        }
    }

    @Test("B6: a batch of which every item failed has no line of the reply and no smaller body")
    func allFailed() {
        let reply = BatchReply(isSplit: false, failed: [0, 1, 2, 3])
        let outcome = BatchVerdict.outcome(of: reply, Self.attempt())
        #expect(outcome.lines.map(\.items) == [ItemSet(12..<16)])
        #expect(outcome.remainder == nil && outcome.next == .ended)
        let retried = BatchVerdict.outcome(of: reply, Self.attempt(on: [.itemFailed]))
        #expect(retried.lines.isEmpty && retried.remainder == nil && retried.next != .ended)
    }

    @Test(
        "B7: each reason of retries.on repeats its own failures; invalid_response the malformed and the too large ones",
        arguments: [
            (.init(.containerUnreachable, ""), .unreachable), (.init(.replicaLost, ""), .unreachable),
            (.init(.timeout, ""), .timeout), (.init(.containerStatus, "", statusCode: 503), .status5xx),
            (.init(.containerStatus, "", statusCode: 404), nil), (.init(.containerMalformed, ""), .invalidResponse),
            (.init(.resultTooLarge, ""), .invalidResponse), (.init(.itemFailed, ""), .itemFailed),
        ] as [(RequestFailure, RetryPolicy.Reason?)])
    func retries(_ failure: RequestFailure, _ reason: RetryPolicy.Reason?) {
        for on in RetryPolicy.Reason.allCases {
            let outcome = BatchVerdict.outcome(of: failure, Self.attempt(on: [on]))
            #expect((outcome.next != .ended) == (on == reason), "\(on)")
            #expect(outcome.lines.count == (on == reason ? 0 : 1))
            let last = BatchVerdict.outcome(of: failure, Self.attempt(2, on: [on]))
            #expect(last.lines == [ResultLine(items: ItemSet(12..<16), verdict: .failed(failure))])
            #expect(last.next == .ended)
        }
        let final = BatchVerdict.outcome(of: failure, isFinal: true, Self.attempt(on: Set(RetryPolicy.Reason.allCases)))
        #expect(final.next == .ended && final.lines.count == 1)
    }

    @Test("B11: on-job-complete is not handled with 404, and retried as a batch otherwise")
    func completionFailures() {
        let missing = RequestFailure(.containerStatus, "", statusCode: 404)
        let broken = RequestFailure(.containerStatus, "", statusCode: 500)
        let lost = RequestFailure(.replicaLost, "")
        #expect(BatchVerdict.completion(of: missing, Self.attempt()) == .completion(.notHandled))
        #expect(BatchVerdict.completion(of: broken, Self.attempt()) == .completion(.failed(broken)))
        #expect(
            BatchVerdict.completion(of: broken, Self.attempt(on: [.status5xx]))
                == .retry(broken, notBefore: Timestamp(seconds: 101)))
        #expect(
            BatchVerdict.completion(of: lost, Self.attempt(1)) == .retry(lost, notBefore: Timestamp(seconds: 102)))
        #expect(BatchVerdict.completion(of: lost, Self.attempt(2)) == .completion(.failed(lost)))
    }
}
