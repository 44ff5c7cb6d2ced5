import AsyncHTTPClient
package import Core
import Foundation
import NIOCore
import NIOHTTP1
import Support

/// Files of an S3-compatible server, as `s3://` URLs (contract B4). Safe from any task.
package struct S3Source: ObjectSource {
    /// The pause before a request is repeated; the last one is followed by an error.
    private static let tries = 6
    private static let backoff = Backoff(first: .milliseconds(250), longest: .seconds(8))
    private static let largestAnswer = 16 << 20

    private let signature: S3Signature?
    private let region: String
    /// Another server than AWS: scheme, host and port.
    private let endpoint: String?
    private let clock: any PlatformClock

    /// - Parameters:
    ///   - environment: the process's variables; some of them are the credentials.
    ///   - endpoint: the URL of another server than AWS, which is addressed by path.
    /// - Throws: `usage` for an endpoint that is no URL of a server.
    package init(environment: [String: String], endpoint: String?, clock: any PlatformClock) throws {
        func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        region = value("AWS_REGION") ?? value("AWS_DEFAULT_REGION") ?? "us-east-1"
        signature = value("AWS_ACCESS_KEY_ID").flatMap { [region] access in
            value("AWS_SECRET_ACCESS_KEY").map { secret in
                S3Signature(
                    accessKey: access, secretKey: Secret(secret),
                    sessionToken: value("AWS_SESSION_TOKEN").map { Secret($0) }, region: region)
            }
        }
        self.endpoint = try endpoint.map { text in
            guard let url = URL(string: text), let scheme = url.scheme, ["http", "https"].contains(scheme),
                let host = url.host, !host.isEmpty, ["", "/"].contains(url.path), url.query == nil
            else {
                throw PlatformError(
                    .usage, "--s3-endpoint must be the URL of a server, such as http://127.0.0.1:9000")
            }
            return text.hasSuffix("/") ? String(text.dropLast()) : text
        }
        self.clock = clock
    }

    package var scheme: String { "s3://" }

    package func check(_ prefix: String) throws {
        guard signature != nil else {
            throw PlatformError(
                .notSupported,
                "s3:// needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of cortex up")
        }
        _ = try S3Place(prefix)
    }

    package func objects(prefix: String, after: String?) async throws -> any ObjectListing {
        let place = try S3Place(prefix)
        return S3Listing(source: self, place: place, after: try after.map { try S3Place($0).key })
    }

    // MARK: Requests

    fileprivate func page(_ place: S3Place, after: String?, continuing token: String?) async throws -> S3Documents.Page
    {
        var query = [("encoding-type", "url"), ("list-type", "2"), ("max-keys", "1000"), ("prefix", place.key)]
        if let token {
            query.append(("continuation-token", token))
        } else if let after {
            query.append(("start-after", after))
        }
        let url = place.url
        let (status, body) = try await repeating(url) {
            let response = try await execute(place.bucket, key: "", query: query)
            let body = try await response.body.collect(upTo: Self.largestAnswer)
            return (response.status, String(buffer: body))
        }
        guard status == .ok else { throw Self.failure(url, status, body) }
        do {
            return try S3Documents.page(body)
        } catch {
            throw InputFailure(url: url, reason: "the server's list of files is not understood")
        }
    }

    package func read(_ object: StoredObject, from offset: Int64, _ take: ([UInt8]) async throws -> Void) async throws {
        let place = try S3Place(object.url)
        var position = offset
        var failures = 0
        while position < object.size {
            let response = try await repeating(object.url) {
                let response = try await execute(
                    place.bucket, key: place.key, query: [], range: "bytes=\(position)-", tag: object.version)
                guard response.status != .ok || position == 0 else {
                    throw InputFailure(url: object.url, offset: position, reason: "the server ignores ranges")
                }
                return (response.status, response)
            }
            guard response.1.status == .partialContent || response.1.status == .ok else {
                let body = try await response.1.body.collect(upTo: Self.largestAnswer)
                throw Self.failure(object.url, response.1.status, String(buffer: body))
            }
            var isReadersError = false
            do {
                for try await chunk in response.1.body {
                    isReadersError = true
                    try await take(Array(chunk.readableBytesView))
                    isReadersError = false
                    position += Int64(chunk.readableBytes)
                    failures = 0
                }
                guard position < object.size else { return }
            } catch let error where !isReadersError && Self.isTemporary(error) {
                // What has arrived stays; the next request begins behind it.
            }
            failures += 1
            guard failures < Self.tries else { throw Self.unavailable(object.url) }
            try await clock.sleep(for: Self.backoff.delay(failures: failures))
        }
    }

    /// Repeats a request that the server could not answer now.
    private func repeating<Value>(
        _ url: String, _ request: () async throws -> (HTTPResponseStatus, Value)
    ) async throws -> (HTTPResponseStatus, Value) {
        var failures = 0
        while true {
            do {
                let (status, value) = try await request()
                guard
                    [.internalServerError, .badGateway, .serviceUnavailable, .gatewayTimeout, .tooManyRequests]
                        .contains(status)
                else { return (status, value) }
            } catch let error where Self.isTemporary(error) {
                // The same as a status of the server.
            }
            failures += 1
            guard failures < Self.tries else { throw Self.unavailable(url) }
            try await clock.sleep(for: Self.backoff.delay(failures: failures))
        }
    }

    private static func isTemporary(_ error: any Error) -> Bool {
        !(error is CancellationError) && !(error is InputFailure) && !(error is PlatformError)
    }

    private static func unavailable(_ url: String) -> PlatformError {
        PlatformError(.unavailable, "the server of \(url) does not answer")
    }

    private static func failure(_ url: String, _ status: HTTPResponseStatus, _ body: String) -> InputFailure {
        switch status {
        case .notFound: return InputFailure(url: url, reason: "the file or its bucket is not there")
        case .preconditionFailed: return InputFailure(url: url, reason: "the file was changed after it was listed")
        default:
            let detail = S3Documents.error(body)
            return InputFailure(
                url: url, reason: "the server answered \(status.code)\(detail.isEmpty ? "" : " (\(detail))")")
        }
    }

    private func execute(
        _ bucket: String, key: String, query: [(String, String)], range: String? = nil, tag: String? = nil
    ) async throws -> HTTPClientResponse {
        guard let signature else {
            throw PlatformError(.notSupported, "s3:// needs credentials in the environment of cortex up")
        }
        let base: String
        let path: String
        if let endpoint {
            base = endpoint
            path = "/\(S3Signature.encode(bucket))/\(S3Signature.encode(key, keepingSlashes: true))"
        } else {
            base = "https://\(bucket).s3.\(region).amazonaws.com"
            path = "/\(S3Signature.encode(key, keepingSlashes: true))"
        }
        let text = query.map { (S3Signature.encode($0.0), S3Signature.encode($0.1)) }.sorted { $0.0 < $1.0 }
            .map { "\($0.0)=\($0.1)" }.joined(separator: "&")
        var request = HTTPClientRequest(url: base + path + (text.isEmpty ? "" : "?\(text)"))
        let host = String(base.drop { $0 != "/" }.dropFirst(2))
        request.headers.add(name: "host", value: host)
        for (name, value) in signature.headers(host: host, path: path, query: text, range: range, now: clock.now()) {
            request.headers.add(name: name, value: value)
        }
        if let tag, !tag.isEmpty { request.headers.add(name: "if-match", value: tag) }
        return try await Self.client.execute(request, timeout: .seconds(60))
    }

    /// It lives as long as the process: jobs read files at any time.
    private static let client = {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout = .init(connect: .seconds(10), read: .seconds(60))
        configuration.httpVersion = .http1Only
        return HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
    }()
}

/// The parts of an `s3://` URL.
private struct S3Place: Sendable {
    var bucket: String
    var key: String

    init(_ url: String) throws {
        let rest = url.dropFirst("s3://".count)
        let slash = rest.firstIndex(of: "/")
        bucket = String(slash.map { rest[..<$0] } ?? rest)
        key = slash.map { String(rest[rest.index(after: $0)...]) } ?? ""
        let allowed = bucket.utf8.allSatisfy {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".")
        }
        guard (3...63).contains(bucket.utf8.count), allowed else {
            throw PlatformError(.badRequest, "an s3:// URL begins with the name of a bucket: s3://bucket/prefix")
        }
    }

    var url: String { "s3://\(bucket)/\(key)" }
}

private struct S3Listing: ObjectListing {
    let source: S3Source
    let place: S3Place
    let after: String?
    private var objects: ArraySlice<S3Documents.Page.Object> = []
    private var token: String?
    private var isBegun = false

    init(source: S3Source, place: S3Place, after: String?) {
        self.source = source
        self.place = place
        self.after = after
    }

    mutating func next() async throws -> StoredObject? {
        while objects.isEmpty {
            if isBegun, token == nil { return nil }
            let page = try await source.page(place, after: after, continuing: token)
            isBegun = true
            objects = page.objects[...]
            token = page.next
        }
        guard let object = objects.popFirst() else { return nil }
        return StoredObject(url: "s3://\(place.bucket)/\(object.key)", size: object.size, version: object.tag)
    }
}
