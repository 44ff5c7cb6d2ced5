import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// A plain HTTP call, like a user's program makes it.
enum HTTP {
    struct Answer: Sendable {
        var status: Int
        var headers: HTTPHeaders
        var bytes: [UInt8]

        var text: String { String(decoding: bytes, as: UTF8.self) }

        /// The body as JSON; `nil` if it is not JSON.
        var json: JSON? { JSON(bytes) }
    }

    static func get(_ url: String, headers: [(String, String)] = []) async throws -> Answer {
        try await call(.GET, url, headers: headers)
    }

    static func post(
        _ url: String, _ body: [UInt8], headers: [(String, String)] = [], within limit: Duration = .seconds(120)
    ) async throws -> Answer {
        try await call(.POST, url, body: .bytes(ByteBuffer(bytes: body)), headers: headers, within: limit)
    }

    /// - Throws: the complete answer did not arrive within `limit`, also if the server ended without closing the
    ///   connection.
    static func call(
        _ method: HTTPMethod, _ url: String, body: HTTPClientRequest.Body? = nil, headers: [(String, String)] = [],
        within limit: Duration = .seconds(120)
    ) async throws -> Answer {
        try await withThrowingTaskGroup(of: Answer.self) { group in
            group.addTask { try await exchange(method, url, body: body, headers: headers) }
            group.addTask {
                try await Task.sleep(for: limit)
                throw PlatformError(.timedOut, "\(method) \(url): no whole answer within \(limit)")
            }
            defer { group.cancelAll() }
            guard let answer = try await group.next() else { throw CancellationError() }
            return answer
        }
    }

    /// It exists as long as the tests. A refused connection is reported at once: `HTTPClient.shared` would retry for 90
    /// seconds, and a caller between two calls would wait that long when the platform is killed.
    private static let client = {
        var configuration = HTTPClient.Configuration()
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(eventLoopGroup: .singletonMultiThreadedEventLoopGroup, configuration: configuration)
    }()

    private static func exchange(
        _ method: HTTPMethod, _ url: String, body: HTTPClientRequest.Body?, headers: [(String, String)]
    ) async throws -> Answer {
        var request = HTTPClientRequest(url: url)
        request.method = method
        request.body = body
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        let response = try await client.execute(request, deadline: .distantFuture)
        let collected = try await response.body.collect(upTo: 256 << 20)
        return Answer(
            status: Int(response.status.code), headers: response.headers, bytes: Array(collected.readableBytesView))
    }
}

/// A parsed JSON value with easy access for expectations.
struct JSON: @unchecked Sendable, CustomStringConvertible {
    // Unchecked: the value is Foundation's immutable parse result and never changed.
    private let value: Any?

    init?(_ bytes: some Sequence<UInt8>) {
        guard let value = try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed) else {
            return nil
        }
        self.value = value
    }

    private init(value: Any?) { self.value = value }

    subscript(_ key: String) -> JSON { JSON(value: (value as? [String: Any])?[key]) }
    subscript(_ index: Int) -> JSON {
        let list = value as? [Any] ?? []
        return JSON(value: list.indices.contains(index) ? list[index] : nil)
    }

    var string: String? { value as? String }
    var int: Int? { (value as? NSNumber)?.intValue }
    var double: Double? { (value as? NSNumber)?.doubleValue }
    var bool: Bool? { (value as? NSNumber)?.boolValue }
    var array: [JSON]? { (value as? [Any])?.map { JSON(value: $0) } }
    var keys: [String]? { (value as? [String: Any])?.keys.sorted() }
    var exists: Bool { value != nil }
    var description: String { value.map { "\($0)" } ?? "nothing" }
}
