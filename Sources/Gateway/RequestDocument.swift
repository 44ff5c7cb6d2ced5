import Core
import HTTPServing
import NIOCore
import NIOHTTP1

/// What `GET /<endpoint>/<id>` answers (contract A2, A3): compact JSON with the original's order of keys, the result's bytes untouched, a line feed at the end.
struct RequestDocument {
    /// Up to the result, or all of it where there is none.
    let head: [UInt8]
    let result: Body?
    /// After the result.
    let tail: [UInt8]

    /// - Parameter verbose: whether what went wrong in each attempt is listed too.
    init(_ record: RequestRecord, verbose: Bool = false) {
        var head: [UInt8] = []
        head.reserveCapacity(96)
        Self.append("{\"id\":\"", to: &head)
        record.id.append(to: &head)
        Self.append("\",\"status\":\"", to: &head)
        head.append(contentsOf: record.status.rawValue.utf8)
        head.append(UInt8(ascii: "\""))
        var tail: [UInt8] = []
        tail.reserveCapacity(64)
        if let result = record.result {
            Self.append(",\"result\":", to: &head)
            self.result = result
        } else {
            self.result = nil
        }
        if let ended = record.endedAt {
            Self.append(",\"timestamp\":\"", to: &tail)
            ended.appendRFC3339(to: &tail)
            tail.append(UInt8(ascii: "\""))
        }
        Self.append(",\"attempts\":", to: &tail)
        if record.attempts < 10, record.attempts >= 0 {
            tail.append(UInt8(ascii: "0") + UInt8(record.attempts))
        } else {
            tail.append(contentsOf: String(record.attempts).utf8)
        }
        if let failure = record.failure {
            tail.append(contentsOf: ",\"error\":{".utf8)
            Self.append(failure, to: &tail)
            tail.append(UInt8(ascii: "}"))
        }
        if verbose {
            tail.append(contentsOf: ",\"attempt_errors\":[".utf8)
            for (index, attempt) in record.failures.enumerated() {
                if index > 0 { tail.append(UInt8(ascii: ",")) }
                tail.append(contentsOf: "{\"timestamp\":\"\(attempt.at.rfc3339)\",".utf8)
                Self.append(attempt.failure, to: &tail)
                tail.append(UInt8(ascii: "}"))
            }
            tail.append(UInt8(ascii: "]"))
        }
        Self.append("}\n", to: &tail)
        self.head = head
        self.tail = tail
    }

    private static func append(_ text: StaticString, to bytes: inout [UInt8]) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    private static func append(_ failure: RequestFailure, to bytes: inout [UInt8]) {
        bytes.append(contentsOf: "\"kind\":\"\(failure.kind.rawValue)\",\"message\":".utf8)
        JSONText.appendJSONString(failure.message, to: &bytes)
        if let status = failure.statusCode { bytes.append(contentsOf: ",\"status_code\":\(status)".utf8) }
        if let body = failure.body {
            bytes.append(contentsOf: ",\"body\":".utf8)
            JSONText.appendJSONString(body, to: &bytes)
        }
    }

    /// The answer; a large result is streamed from the store.
    ///
    /// - Throws: ``PlatformError`` `not_found` where the result was erased since the record was read.
    nonisolated(nonsending) func response(from store: any Store, headersOnly: Bool) async throws -> OutgoingResponse {
        guard case .file(_, let size) = result, let result else {
            var document = ByteBuffer()
            document.reserveCapacity(head.count + tail.count + Int(result?.size ?? 0))
            document.writeBytes(head)
            if case .inline(let bytes) = result { document.writeBytes(bytes) }
            document.writeBytes(tail)
            return .json(document)
        }
        let length = Int64(head.count) + size + Int64(tail.count)
        // Opened before the status is sent: a result that is gone is a 404, not a broken answer.
        let reader = try await store.reader(of: result)
        guard !headersOnly else {
            await reader.close()
            return OutgoingResponse(
                status: .ok, headers: ["Content-Type": "application/json"],
                body: .stream(length: length, write: { _ in }))
        }
        let streaming = ResultStream(head: head, reader: reader, size: size, tail: tail)
        return OutgoingResponse(
            status: .ok, headers: ["Content-Type": "application/json"],
            body: .stream(length: length, write: { try await streaming.write(to: $0) }))
    }
}

/// A document whose result comes from a file, a piece at a time.
private struct ResultStream: Sendable {
    let head: [UInt8]
    let reader: any BodyReader
    let size: Int64
    let tail: [UInt8]

    func write(to body: OutgoingBody) async throws {
        do {
            try await body.write(head)
            var sent: Int64 = 0
            while let bytes = try await reader.read(upTo: Limits.bodyPiece) {
                sent += Int64(bytes.count)
                try await body.write(bytes)
            }
            guard sent == size else {
                throw PlatformError(.internal, "a stored result has \(sent) bytes instead of \(size)")
            }
            try await body.write(tail)
        } catch {
            await reader.close()
            throw error
        }
        await reader.close()
    }
}
