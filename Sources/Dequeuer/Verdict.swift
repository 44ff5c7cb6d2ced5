package import Core
package import Support

/// The head of a container's answer, as far as the verdict needs it.
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

/// What a container's answer counts as (contract C4, A3); pure.
package enum Verdict {
    /// What the head alone decides.
    package enum OfHead: Sendable, Hashable {
        /// The body decides: it must be JSON and not too large.
        case readResult
        /// A failure; the first bytes of the body are kept with it.
        case readText(status: Int)
        /// A failure, whatever the body is.
        case failed(RequestFailure)
    }

    /// What follows from an answer's head alone.
    package static func of(_ head: AnswerHead, maxResult: Int64) -> OfHead {
        // Nothing that is HTTP follows a switch of protocols.
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

    /// Any status but 200; redirects are not followed.
    ///
    /// - Parameter body: its first ``Limits/failureBody`` bytes.
    package static func wrongStatus(_ status: Int, body: [UInt8]) -> RequestFailure {
        return RequestFailure(
            .containerStatus, "The container answered with status \(digits(status)). \(hint(status))",
            statusCode: status,
            body: text(body.prefix(Limits.failureBody)))
    }

    /// As it stands in the answer's first line: three digits.
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

    /// `application/json`, parameters allowed, in any case.
    package static func isJSON(_ contentType: String) -> Bool {
        // What nearly every container says, without a walk along its characters.
        if contentType == "application/json" { return true }
        let type = contentType.prefix { $0 != ";" }
        return type.trimmingBlanks().lowercased() == "application/json"
    }

    /// Bytes as text with U+FFFD for what is not UTF-8. A character that the cut at the end tore apart is left out.
    package static func text(_ bytes: some Collection<UInt8>) -> String {
        var whole = Array(bytes)
        if whole.count == Limits.failureBody { whole.removeLast(tornBytes(whole)) }
        return String(decoding: whole, as: UTF8.self)
    }

    /// How many bytes at the end begin a UTF-8 sequence without ending it.
    private static func tornBytes(_ bytes: [UInt8]) -> Int {
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

extension Substring {
    fileprivate func trimmingBlanks() -> Substring {
        var text = self
        while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }
}
