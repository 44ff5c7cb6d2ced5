import Core
import Foundation
import Records

/// The failures of a request, as stored in the column `answer.head` (architecture decision 13; it follows the rules of
/// ``DeployedAPIRecord``).
struct FailureHead: Codable {
    static let format = 1

    /// The reason why it failed.
    var failure: RequestFailure?
    /// The failure of each attempt that counted.
    var failures: [AttemptFailure] = []
    /// Deliveries that the platform cut off, which are counted separately (``Outcome/interrupted``).
    var interruptions = 0

    private enum Key: String, CodingKey { case format, failure, failures, interruptions }

    init() {}

    init(decoding data: Data?) throws {
        guard let data else { return }
        self = try JSONDecoder().decode(FailureHead.self, from: data)
    }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        try NewerFormat.check(record.decodeIfPresent(Int.self, forKey: .format), latest: Self.format)
        failure = try record.decodeIfPresent(FailureRecord.self, forKey: .failure)?.failure()
        failures = try record.decodeIfPresent([AttemptRecord].self, forKey: .failures)?.map { try $0.attempt() } ?? []
        interruptions = try record.decodeIfPresent(Int.self, forKey: .interruptions) ?? 0
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(Self.format, forKey: .format)
        try record.encodeIfPresent(failure.map(FailureRecord.init), forKey: .failure)
        try record.encode(failures.map(AttemptRecord.init), forKey: .failures)
        if interruptions > 0 { try record.encode(interruptions, forKey: .interruptions) }
    }

    private struct FailureRecord: Codable {
        var kind: String
        var message: String
        var statusCode: Int?
        var body: String?

        enum CodingKeys: String, CodingKey {
            case kind, message, body
            case statusCode = "status_code"
        }

        init(_ failure: RequestFailure) {
            self.kind = failure.kind.rawValue
            self.message = failure.message
            self.statusCode = failure.statusCode
            self.body = failure.body
        }

        func failure() throws -> RequestFailure {
            guard let kind = RequestFailure.Kind(rawValue: kind) else { throw RequestHead.Damaged() }
            return RequestFailure(kind, message, statusCode: statusCode, body: body)
        }
    }

    private struct AttemptRecord: Codable {
        /// Microseconds since 1970.
        var at: Int64
        var failure: FailureRecord

        init(_ attempt: AttemptFailure) {
            self.at = attempt.at.microseconds
            self.failure = FailureRecord(attempt.failure)
        }

        func attempt() throws -> AttemptFailure {
            AttemptFailure(at: Timestamp(microseconds: at), failure: try failure.failure())
        }
    }
}
