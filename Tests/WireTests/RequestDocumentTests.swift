import Core
import Foundation
import Testing
import Wire

private let id = RequestID("0190f3a2-5d1c-7aaa-8bbb-1234567890ab")

private func record(_ status: RequestStatus, ended: Bool = true) throws -> RequestRecord {
    let submitted = Timestamp(seconds: 1_622_810_096)
    return RequestRecord(
        id: try #require(id), api: "iris", status: status, attempts: 12, submittedAt: submitted,
        endedAt: ended ? submitted + .milliseconds(1500) : nil)
}

private func failed() throws -> RequestRecord {
    var record = try record(.failed)
    let failure = RequestFailure(.containerStatus, "answered \"500\"", statusCode: 500, body: "a\n\u{1}\u{FFFD}é")
    record.failure = failure
    record.failures = [
        AttemptFailure(at: record.submittedAt, failure: RequestFailure(.containerUnreachable, "no connection")),
        AttemptFailure(at: record.submittedAt + .seconds(1), failure: failure),
    ]
    return record
}

@Suite("The document of a request")
struct RequestDocumentTests {
    private static func text(_ document: RequestDocument) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(document), as: UTF8.self)
    }

    @Test("O3: the operator shows each attempt in the gateway's form, and in the form of earlier versions")
    func operatorForm() throws {
        var record = try failed()
        record.failures.removeFirst()
        record.failures[0].failure = RequestFailure(.timeout, "late")
        record.failure = record.failures[0].failure
        let text = try Self.text(RequestDocument(record))
        #expect(
            text == #"{"attempt_errors":[{"kind":"timeout","message":"late","timestamp":"2021-06-04T12:34:57Z"}],"#
                + #""attempts":12,"error":{"kind":"timeout","message":"late"},"#
                + #""failures":[{"error":{"kind":"timeout","message":"late"},"timestamp":"2021-06-04T12:34:57Z"}],"#
                + #""id":"0190f3a2-5d1c-7aaa-8bbb-1234567890ab","status":"failed","#
                + #""submitted_at":"2021-06-04T12:34:56Z","timestamp":"2021-06-04T12:34:57Z"}"#)
    }

    @Test("O3: what is not there is left out")
    func leftOut() throws {
        let text = try Self.text(RequestDocument(try record(.inQueue, ended: false)))
        #expect(
            text == #"{"attempts":12,"id":"0190f3a2-5d1c-7aaa-8bbb-1234567890ab","status":"in_queue","#
                + #""submitted_at":"2021-06-04T12:34:56Z"}"#)
    }

    @Test("O3: a document survives the wire")
    func roundTrip() throws {
        for record in [try failed(), try record(.completed), try record(.inQueue, ended: false)] {
            let document = RequestDocument(record)
            #expect(try JSONDecoder().decode(RequestDocument.self, from: JSONEncoder().encode(document)) == document)
        }
    }
}

@Suite("The gateway's text of a request")
struct RequestTextTests {
    private static func bytes(_ text: RequestText) -> [UInt8] {
        guard case .inline(let result) = text.result else { return text.head + text.tail }
        return text.head + result + text.tail
    }

    @Test("A2, A3: the text reads as the document, with and without attempts")
    func sameShape() throws {
        for record in [
            try failed(), try record(.completed), try record(.cancelled), try record(.inQueue, ended: false),
        ] {
            for isVerbose in [false, true] {
                let text = Self.bytes(RequestText(record, verbose: isVerbose))
                var expected = RequestDocument(record)
                expected.submittedAt = nil
                expected.failures = nil
                expected.attemptErrors = isVerbose ? expected.attemptErrors ?? [] : nil
                #expect(try JSONDecoder().decode(RequestDocument.self, from: Data(text)) == expected)
            }
        }
    }

    @Test("A2: order of the members, compact, with a line feed at the end")
    func order() throws {
        let text = String(decoding: Self.bytes(RequestText(try record(.cancelled))), as: UTF8.self)
        #expect(
            text == "{\"id\":\"0190f3a2-5d1c-7aaa-8bbb-1234567890ab\",\"status\":\"cancelled\","
                + "\"timestamp\":\"2021-06-04T12:34:57Z\",\"attempts\":12}\n")
    }

    @Test("C5: a result stays as it is, byte for byte")
    func result() throws {
        var record = try record(.completed)
        record.result = .inline(Array("{ \"a\" : 1.0e+2, \"a\":\"\\u00e9\" }".utf8))
        let text = String(decoding: Self.bytes(RequestText(record)), as: UTF8.self)
        #expect(text.contains(",\"result\":{ \"a\" : 1.0e+2, \"a\":\"\\u00e9\" },\"timestamp\":"))
        #expect(try JSONSerialization.jsonObject(with: Data(text.utf8)) is [String: Any])
    }
}
