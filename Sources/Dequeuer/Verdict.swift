package import Core

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
        let hint =
            (300..<400).contains(status)
            ? "Redirects are not followed: serve POST / itself."
            : "A result needs status 200; the container's logs may say more."
        return RequestFailure(
            .containerStatus, "The container answered with status \(status). \(hint)", statusCode: status,
            body: text(body.prefix(Limits.failureBody)))
    }

    package static func invalidJSON(_ problem: JSONValidator.Problem) -> RequestFailure {
        RequestFailure(
            .containerInvalidJSON,
            "The container's answer is not one valid JSON text: \(problem.reason) (at byte \(problem.offset))."
        )
    }

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
