package import Core
package import Support

/// The parts of the head of a container's answer that decide what it counts as.
package struct AnswerHead: Sendable, Hashable {
    package var status: Int
    /// The values of every `Content-Type` field.
    package var contentTypes: [String]
    /// The value of `Content-Encoding`, if there is one.
    package var contentEncoding: String?
    /// The announced length; `nil` for a chunked answer or one that ends with the connection.
    package var contentLength: Int64?

    package init(
        status: Int, contentTypes: [String] = [], contentEncoding: String? = nil, contentLength: Int64? = nil
    ) {
        self.status = status
        self.contentTypes = contentTypes
        self.contentEncoding = contentEncoding
        self.contentLength = contentLength
    }
}

/// What a container's answer counts as (contract C4, A3), and the failures that callers see. Pure.
package enum Verdict {
    /// What the head alone decides.
    package enum OfHead: Sendable, Hashable {
        /// The body decides: it must be JSON and not too large.
        case readResult
        /// The reply to a batch: its body becomes results, except for the items at these positions.
        case readReply(failed: [Int], isWhole: Bool)
        /// A success, whatever the body is.
        case acknowledge
        /// A failure; the first bytes of the body are stored with it.
        case readText(status: Int)
        /// A failure, whatever the body is.
        case failed(RequestFailure)
    }

    /// What follows from an answer's head alone.
    package static func of(_ head: AnswerHead, maxResult: Int64) -> OfHead {
        // What follows a switch of protocols is not HTTP.
        guard head.status >= 200 else { return .failed(wrongStatus(head.status, body: [])) }
        guard head.status == 200 else { return .readText(status: head.status) }
        guard !head.contentTypes.isEmpty, head.contentTypes.allSatisfy(isJSON) else {
            let found =
                head.contentTypes.isEmpty
                ? "no Content-Type" : "Content-Type \(quote(head.contentTypes.joined(separator: ", ")))"
            return .failed(
                .init(
                    .containerNotJSONType,
                    "The container answered 200 with \(found); answer with Content-Type application/json."))
        }
        if let encoding = head.contentEncoding, encoding.lowercased() != "identity", !encoding.isEmpty {
            return .failed(
                .init(
                    .containerInvalidJSON,
                    "The container's answer is compressed (Content-Encoding \(quote(encoding))), although no Accept-Encoding was sent; answer with plain JSON."
                ))
        }
        if let length = head.contentLength, length > maxResult { return .failed(tooLarge(maxResult)) }
        return .readResult
    }

    // MARK: Failures

    /// Any status but 200; redirects are not followed.
    ///
    /// - Parameter body: its first ``Limits/failureBody`` bytes.
    package static func wrongStatus(_ status: Int, body: [UInt8]) -> RequestFailure {
        RequestFailure(
            .containerStatus, "The container answered with status \(digits(status)). \(hint(status))",
            statusCode: status, body: text(body.prefix(Limits.failureBody)))
    }

    /// The status with three digits, as in the first line of the answer.
    private static func digits(_ status: Int) -> String {
        let text = "\(status)"
        return String(repeating: "0", count: max(0, 3 - text.count)) + text
    }

    /// What a status other than 200 means here, and what to do.
    private static func hint(_ status: Int) -> String {
        switch status {
        case ..<100: "HTTP has no such status, the lowest is 100; answer POST / with status 200 and JSON."
        case 101: "It switches to another protocol; answer POST / with status 200 and JSON."
        case ..<200: "That is no final answer; answer POST / with status 200 and JSON."
        case 204, 205:
            "That is an answer without content; a result is JSON with status 200 (null, if there is nothing to say)."
        case 206: "That is a part of an answer; a result is whole and has status 200."
        case 200..<300: "Of the statuses that mean success only 200 is a result."
        case 304:
            "Not Modified answers a conditional request; the caller's If-None-Match or If-Modified-Since was forwarded. A result needs status 200."
        case 301, 302, 303, 307, 308: "Redirects are not followed: serve POST / itself."
        case 300..<400: "It offers no result; a result needs status 200."
        case 404: "It has no handler at this path: requests are sent as POST /."
        case 405: "Its handler does not take this method: requests are sent as POST /."
        case 411, 413: "It does not take a body of this size; raise the limit of the container's server."
        case 415, 422: "It does not take this body; check the caller's Content-Type and payload."
        case 500..<600: "It failed while it worked; its logs may say more (cortex logs)."
        default: "A result needs status 200; the container's logs may say more."
        }
    }

    /// An answer that is not HTTP/1.1, or not within its limits.
    ///
    /// - Parameter reason: ends the sentence "The container's answer could not be read: …".
    package static func unreadable(_ reason: String) -> RequestFailure {
        RequestFailure(.containerInvalidJSON, "The container's answer could not be read: \(reason).")
    }

    /// The failure of an answer that is not JSON.
    package static func invalidJSON(_ problem: JSONValidator.Problem) -> RequestFailure {
        RequestFailure(
            .containerInvalidJSON,
            "The container's answer is not one valid JSON text: \(problem.reason) (at byte \(problem.offset))."
        )
    }

    /// The failure of an answer with more than `maxResult` bytes.
    package static func tooLarge(_ maxResult: Int64) -> RequestFailure {
        RequestFailure(
            .resultTooLarge,
            "The container's answer is larger than max_result (\(maxResult) bytes); raise max_result or answer with less."
        )
    }

    /// No connection to the container.
    ///
    /// - Parameter reason: a sentence.
    static func unreachable(_ reason: String, port: Int, api: String) -> RequestFailure {
        RequestFailure(
            .containerUnreachable,
            "No connection to port \(port) of a ready pod: \(reason) Check that the container keeps listening there (cortex logs \(api))."
        )
    }

    /// The connection was lost before the answer was complete.
    ///
    /// - Parameter what: a sentence that says what was lost.
    static func lost(_ what: String, api: String) -> RequestFailure {
        RequestFailure(
            .replicaLost,
            "\(what) Check whether the container crashed or closed the connection (cortex logs \(api)).")
    }

    /// The platform ended the replica during each of several deliveries of one request (contract C13).
    static func interrupted(deliveries: Int, _ reason: CutReason) -> RequestFailure {
        let message = "In \(deliveries) deliveries \(reason.explanation)."
        return RequestFailure(.replicaLost, reason.remedy.map { "\(message) \($0)" } ?? message)
    }

    /// The attempt took longer than `timeout`.
    static func timeout(_ limit: Duration) -> RequestFailure {
        RequestFailure(
            .timeout,
            "The container gave no complete answer within timeout (\(limit.secondsText) s); raise timeout or answer sooner."
        )
    }

    static let missingPayload = RequestFailure(
        .containerUnreachable,
        "No container could be given this request: its payload is missing on the server. Submit it again.")

    // MARK: Text

    /// Whether a media type is `application/json`. Parameters are allowed, case does not matter.
    package static func isJSON(_ contentType: String) -> Bool {
        // The usual case, compared at once.
        if contentType == "application/json" { return true }
        let type = contentType.prefix { $0 != ";" }
        return type.trimmingBlanks().lowercased() == "application/json"
    }

    /// Bytes as text with U+FFFD for what is not UTF-8. A character that is cut off at the end is omitted.
    package static func text(_ bytes: some Collection<UInt8>) -> String {
        var whole = Array(bytes)
        if whole.count == Limits.failureBody { whole.removeLast(incompleteBytes(whole)) }
        return String(decoding: whole, as: UTF8.self)
    }

    /// The number of bytes at the end that begin a UTF-8 sequence without ending it.
    private static func incompleteBytes(_ bytes: [UInt8]) -> Int {
        for back in 1...3 where back <= bytes.count {
            let byte = bytes[bytes.count - back]
            if byte & 0xC0 == 0x80 { continue }
            let needed = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1
            return needed > back ? back : 0
        }
        return 0
    }

    /// A short piece of a container's text, safe to show.
    private static func quote(_ text: String) -> String { JSONText.quoted(String(text.prefix(100))) }
}

extension RetryPolicy {
    /// Whether this policy repeats a request after such a failure.
    ///
    /// - Parameter ofBatch: whether the request is a batch of a job: then a result that is too large can be
    ///   repeated (contract B7).
    package func covers(_ failure: RequestFailure, ofBatch: Bool = false) -> Bool {
        switch failure.kind {
        case .containerUnreachable, .replicaLost: on.contains(.unreachable)
        case .timeout: on.contains(.timeout)
        case .containerStatus: on.contains(.status5xx) && (500...599).contains(failure.statusCode ?? 0)
        case .containerNotJSONType, .containerInvalidJSON, .containerMalformed: on.contains(.invalidResponse)
        case .resultTooLarge: ofBatch && on.contains(.invalidResponse)
        case .itemFailed: on.contains(.itemFailed)
        case .expired: false
        }
    }

    /// What is recorded of a delivery that failed (contract A11): the end of the request, or a retry after a delay.
    ///
    /// - Parameters:
    ///   - earlier: deliveries before this one that counted.
    ///   - chance: evenly from 0 up to 1; spreads the delay.
    package func outcome(
        of failure: RequestFailure, earlier: Int, now: Timestamp, chance: Double
    ) -> Outcome {
        guard let notBefore = retryTime(after: failure, earlier: earlier, now: now, chance: chance) else {
            return .failed(failure)
        }
        return .retry(failure, notBefore: notBefore)
    }

    /// When another delivery may begin after one that failed; `nil` when none follows. The parameters are those of
    /// ``outcome(of:earlier:now:chance:)`` and ``covers(_:ofBatch:)``.
    package func retryTime(
        after failure: RequestFailure, earlier: Int, ofBatch: Bool = false, now: Timestamp, chance: Double
    ) -> Timestamp? {
        let deliveries = earlier + 1
        guard deliveries < maxAttempts, covers(failure, ofBatch: ofBatch) else { return nil }
        return now + Backoff(first: backoff, longest: Limits.retryBackoff).delay(failures: deliveries, chance: chance)
    }
}

extension Delivery {
    /// What the store records of this delivery; `nil` when its lease is released and the delivery does not count.
    func outcome(of end: ExchangeEnd, clock: any PlatformClock, chance: RandomSource) -> Outcome? {
        func failed(_ failure: RequestFailure, isFinal: Bool = false) -> Outcome {
            outcome(of: failure, isFinal: isFinal, clock: clock, chance: chance)
        }
        switch end {
        case .completed(let body, _): return .completed(body)
        case .replied(let reply):
            return .batch(BatchVerdict.outcome(of: reply, attempt(clock, chance)))
        case .acknowledged: return .completion(.succeeded)
        case .invalidAnswer(let failure): return failed(failure)
        case .notBegun, .notStored: return nil
        case .payloadUnreadable(let error):
            // A payload that is missing ends the request. One that cannot be read now is tried again.
            guard (error as? PlatformError)?.code == .notFound else { return nil }
            return failed(Verdict.missingPayload, isFinal: true)
        case .interrupted(.leaseLost): return nil
        case .interrupted(.timedOut): return failed(Verdict.timeout(replica.requests.timeout))
        // Only this worker stops: what may be known of the replica is not the reason.
        case .interrupted(.cutOff) where !replica.activity.isCut: return nil
        case .interrupted, .unreachable, .lost: break
        }
        let api = replica.api.name
        if let reason = endReason(end) {
            // Without a connection the container saw nothing, so the request cannot be the cause.
            guard hasConnection else { return nil }
            switch reason.cost {
            case .nothing: return nil
            case .attempt: return failed(Verdict.lost("The connection was lost: \(reason.explanation).", api: api))
            case .interruption:
                // The request itself may be the cause, so it is delivered only a few times more (contract C13).
                guard request.interruptions >= Limits.interruptions else { return .interrupted }
                return failed(Verdict.interrupted(deliveries: request.interruptions + 1, reason), isFinal: true)
            }
        }
        return switch end {
        case .lost(let what): failed(Verdict.lost(what, api: api))
        case .unreachable(let reason):
            failed(Verdict.unreachable(reason, port: replica.port, api: api))
        default: nil
        }
    }

    /// What the store records of this delivery when it failed.
    ///
    /// - Parameter isFinal: whether no other delivery follows, whatever the policy says.
    private func outcome(
        of failure: RequestFailure, isFinal: Bool, clock: any PlatformClock, chance: RandomSource
    ) -> Outcome {
        switch (rule, request.batch) {
        case (.batch, let place?):
            let attempt = attempt(clock, chance)
            return place.isCompletion
                ? BatchVerdict.completion(of: failure, isFinal: isFinal, attempt)
                : .batch(BatchVerdict.outcome(of: failure, isFinal: isFinal, attempt))
        case _ where isFinal:
            return .failed(failure)
        default:
            return replica.requests.retries.outcome(
                of: failure, earlier: request.attempts, now: clock.now(), chance: chance.next())
        }
    }

    private func attempt(_ clock: any PlatformClock, _ chance: RandomSource) -> BatchVerdict.Attempt {
        BatchVerdict.Attempt(
            items: request.batch?.items ?? ItemSet(0..<0), retries: replica.requests.retries,
            earlier: request.attempts, now: clock.now(), chance: chance.next(), duration: clock.instant() - startedAt)
    }

    /// Why the connection broke, if the platform knows it.
    private func endReason(_ end: ExchangeEnd) -> CutReason? {
        let activity = replica.activity
        if activity.isCut { return activity.cutReason ?? .stopped }
        guard let reason = activity.cutReason else { return nil }
        // A reason that costs an attempt says nothing about a connection that could not be made.
        if case .unreachable = end, reason.cost == .attempt { return nil }
        return reason
    }

    /// The kernel may kill a container before the platform learns of it. Where the request is about to fail finally,
    /// this waits up to a second for the reason.
    func waitForLossReason(clock: any PlatformClock, isolation: isolated (any Actor)? = #isolation) async {
        let activity = replica.activity
        let retries = replica.requests.retries
        let isLast = request.attempts + 1 >= retries.maxAttempts || !retries.on.contains(.unreachable)
        for _ in 0..<10 where isLast && activity.cutReason == nil && interruption == nil {
            await pause(for: .milliseconds(100), clock: clock)
        }
    }
}

extension Substring {
    fileprivate func trimmingBlanks() -> Substring {
        var text = self
        while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }
}
