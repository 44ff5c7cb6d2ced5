import AsyncHTTPClient
package import Core
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Support
import Synchronization

/// Speaks the Docker Engine API over a unix socket, to Docker and to Podman alike. This file is the transport; each
/// resource has its own.
///
/// Every answer that is read whole is bounded in size and time. A call throws ``DockerError`` when the engine refuses
/// it and `engine_unavailable` when the engine does not answer at all.
package struct DockerClient: Sendable {
    /// The oldest API we speak; it is also what Podman 4 offers.
    package static let oldestAPI = APIVersion(major: 1, minor: 41)

    private let transport: Transport
    let host: String
    let clock: any PlatformClock
    /// What makes an engine work hard goes through here: past some number at once it only gets slower, up to time-outs.
    let gate = Limiter(width: 6, waitingLimit: .max, of: "calls")
    let inFlight = InFlight()
    /// The version in each path; raised to what the engine demands at least.
    package var api = DockerClient.oldestAPI

    package init(socketPath: String, clock: any PlatformClock) {
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.timeout.connect = .seconds(5)
        // Follow streams each hold a connection; calls must not queue up behind them.
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 4096
        // An engine that is not there is reported at once.
        configuration.connectionPool.retryConnectionEstablishment = false
        self.transport = Transport(configuration)
        self.host = Self.encode(socketPath)
        self.clock = clock
    }

    /// Ends every call and stream. Nothing may be called afterwards.
    package func shutDown() async {
        // The only error is "already shut down".
        try? await http.shutdown()
    }

    private var http: HTTPClient { transport.http }

    /// Keeps the connections, and ends them when the last copy of the client goes.
    private final class Transport: Sendable {
        let http: HTTPClient

        init(_ configuration: HTTPClient.Configuration) {
            http = HTTPClient(eventLoopGroup: .singletonMultiThreadedEventLoopGroup, configuration: configuration)
        }

        deinit {
            // It may have been shut down before, which is what was wanted.
            http.shutdown { _ in }
        }
    }

    struct Reply: Sendable {
        var status: Int
        var body: [UInt8]

        /// Throws the engine's refusal unless the status is one of `statuses` or a success.
        func succeeding(_ statuses: Int...) throws -> Reply {
            guard (200..<300).contains(status) || statuses.contains(status) else {
                throw DockerError(status: status, body: body)
            }
            return self
        }

        /// The document in the body. Members that are missing or `null` are `nil`.
        func decode<Document: Decodable>(_ type: Document.Type) throws -> Document {
            do {
                return try JSONDecoder().decode(type, from: Data(body))
            } catch {
                throw PlatformError(
                    .engineUnavailable, "The container engine answered something that is not understood.", cause: error)
            }
        }
    }

    /// The largest answer about one object, in bytes.
    static let objectLimit = 4 << 20

    /// Answers of any status that are read whole; never more than `limit` bytes.
    func call(
        _ method: HTTPMethod, _ path: String, query: [(String, String)] = [], json: JSONValue? = nil,
        bytes: [UInt8]? = nil, headers: [(String, String)] = [], timeout: Duration = .seconds(60),
        limit: Int = DockerClient.objectLimit, version: String? = nil
    ) async throws -> Reply {
        let target = "/v\(version ?? api.description)\(path)"
        let request = try makeRequest(method, target, query: query, json: json, bytes: bytes, headers: headers)
        // A pooled connection may turn out dead when the engine was restarted meanwhile: what can be repeated is
        // repeated once.
        let mayRepeat = method == .GET || method == .HEAD || method == .DELETE
        var attempts = 0
        while true {
            attempts += 1
            do {
                let reply = try await self.attempt(request, timeout: timeout, limit: limit)
                // Podman fails to show a container that is being removed; a moment later it is gone.
                guard method == .GET, reply.status >= 500, attempts < 4 else { return reply }
                try await clock.sleep(for: .milliseconds(50 * attempts))
            } catch let error as PlatformError where mayRepeat && attempts == 1 && error.cause is HTTPClientError {
                continue
            }
        }
    }

    /// A `GET` whose path names no version of the API.
    func callUnversioned(_ path: String) async throws -> Reply {
        let request = try makeRequest(.GET, path, query: [], json: nil, bytes: nil, headers: [])
        // Podman runs other programs to find its version, which is slow on a busy machine.
        return try await attempt(request, timeout: .seconds(60), limit: Self.objectLimit)
    }

    private func attempt(_ request: HTTPClientRequest, timeout: Duration, limit: Int) async throws -> Reply {
        try await withDeadline(timeout, clock: clock) {
            try await Self.translating {
                let response = try await http.execute(request, deadline: .distantFuture)
                let body = try await response.body.collect(upTo: limit)
                return Reply(status: Int(response.status.code), body: Array(body.readableBytesView))
            }
        }
    }

    /// A call whose body goes on: the stream's chunks, once the engine has answered with a success.
    ///
    /// There is no limit on the wait: Podman sends the head of a log that is followed only with its first byte.
    func stream(
        _ method: HTTPMethod, _ path: String, query: [(String, String)] = [], json: JSONValue? = nil,
        headers: [(String, String)] = []
    ) async throws -> ByteStream {
        let target = "/v\(api)\(path)"
        let request = try makeRequest(method, target, query: query, json: json, bytes: nil, headers: headers)
        return try await Self.translating {
            let response = try await http.execute(request, deadline: .distantFuture)
            guard (200..<300).contains(response.status.code) else {
                let body = try await response.body.collect(upTo: 1 << 20)
                throw DockerError(status: Int(response.status.code), body: Array(body.readableBytesView))
            }
            return ByteStream(body: response.body)
        }
    }

    /// The objects of a list, each decoded on its own: one that is too large or that is not understood hides no other.
    ///
    /// - Returns: what was decoded, and how many objects were left out.
    func list<Document: Decodable & Sendable>(
        _ type: Document.Type, _ path: String, query: [(String, String)] = [], timeout: Duration = .seconds(60)
    ) async throws -> (objects: [Document], leftOut: Int) {
        let request = try makeRequest(.GET, "/v\(api)\(path)", query: query, json: nil, bytes: nil, headers: [])
        return try await withDeadline(timeout, clock: clock) {
            try await Self.translating {
                let response = try await http.execute(request, deadline: .distantFuture)
                guard (200..<300).contains(response.status.code) else {
                    let body = try await response.body.collect(upTo: 1 << 20)
                    throw DockerError(status: Int(response.status.code), body: Array(body.readableBytesView))
                }
                var splitter = JSONListSplitter(objectLimit: Self.listedObjectLimit)
                var objects: [Document] = []
                var leftOut = 0
                let decoder = JSONDecoder()
                for try await chunk in response.body {
                    for object in splitter.append(chunk.readableBytesView) {
                        if let object, let document = try? decoder.decode(type, from: Data(object)) {
                            objects.append(document)
                        } else {
                            leftOut += 1
                        }
                    }
                }
                guard splitter.isComplete else {
                    throw PlatformError(
                        .engineUnavailable, "The container engine answered something that is not understood.")
                }
                return (objects, leftOut)
            }
        }
    }

    /// The largest object of a list, in bytes. What the platform makes itself stays far below it.
    private static let listedObjectLimit = 512 << 10

    private func makeRequest(
        _ method: HTTPMethod, _ path: String, query: [(String, String)], json: JSONValue?, bytes: [UInt8]?,
        headers: [(String, String)]
    ) throws -> HTTPClientRequest {
        var url = "http+unix://\(host)\(path)"
        if !query.isEmpty {
            url += "?" + query.map { "\($0.0)=\(Self.encode($0.1))" }.joined(separator: "&")
        }
        var request = HTTPClientRequest(url: url)
        request.method = method
        // Go's servers refuse a request without one, and none is made for a unix socket.
        request.headers.add(name: "host", value: "docker")
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        if let json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: try encoder.encode(json)))
        } else if let bytes {
            request.headers.add(name: "content-type", value: "application/x-tar")
            request.body = .bytes(ByteBuffer(bytes: bytes))
        }
        return request
    }

    /// Percent-encodes everything but the unreserved characters of RFC 3986.
    static func encode(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case 48...57, 65...90, 97...122, 45, 46, 95, 126: result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let hex = String(byte, radix: 16, uppercase: true)
                result += hex.utf8.count == 1 ? "%0\(hex)" : "%\(hex)"
            }
        }
        return result
    }

    /// Turns what the transport throws into what the platform knows.
    fileprivate static func translating<Value>(_ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch let error as PlatformError {
            throw error
        } catch let error as DockerError {
            throw error
        } catch is CancellationError {
            throw CancellationError()
        } catch let error as HTTPClientError where error == .cancelled {
            throw CancellationError()
        } catch let error as IOError where error.errnoCode == EACCES || error.errnoCode == EPERM {
            throw PlatformError(
                .engineUnavailable,
                "The container engine's socket may not be used by this user. Add the user to the engine's group (docker) or start a rootless engine.",
                cause: error)
        } catch let error as NIOTooManyBytesError {
            throw PlatformError(
                .engineUnavailable, "The container engine's answer is larger than can be read.", cause: error)
        } catch {
            throw PlatformError(
                .engineUnavailable, "The container engine does not answer. Check that it runs.", cause: error)
        }
    }
}

/// The bytes of an answer that goes on, for one reader.
struct ByteStream: AsyncSequence, Sendable {
    typealias Element = [UInt8]

    let body: HTTPClientResponse.Body

    struct AsyncIterator: AsyncIteratorProtocol {
        var chunks: HTTPClientResponse.Body.AsyncIterator

        mutating func next() async throws -> [UInt8]? {
            do {
                return try await chunks.next().map { Array($0.readableBytesView) }
            } catch {
                return try await DockerClient.translating { throw error }
            }
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(chunks: body.makeAsyncIterator()) }
}

/// A version of the engine's API.
package struct APIVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    package var major: Int
    package var minor: Int

    package init(major: Int, minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// `nil` for anything but `<number>.<number>`.
    package init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let major = Int(parts[0]), let minor = Int(parts[1]), major >= 0, minor >= 0
        else { return nil }
        self.init(major: major, minor: minor)
    }

    package static func < (left: APIVersion, right: APIVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    package var description: String { "\(major).\(minor)" }
}

/// A refusal by the engine: its status and its own words.
///
/// Docker and Podman choose different statuses for the same refusal, so callers decide by what they asked for and by
/// the state they read afterwards, never by the text (reference: containers.md §3).
package struct DockerError: Error, Sendable, CustomStringConvertible {
    /// The HTTP status.
    package let status: Int
    /// The engine's `message`, or the start of a body that is no JSON.
    package let message: String

    package init(status: Int, message: String) {
        self.status = status
        self.message = message
    }

    /// Reads the error document; both engines have `message` in it.
    init(status: Int, body: [UInt8]) {
        struct Document: Decodable { var message: String? }
        let document = try? JSONDecoder().decode(Document.self, from: Data(body))
        let text = document?.message ?? String(decoding: body.prefix(500), as: UTF8.self)
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        self.init(status: status, message: trimmed.isEmpty ? "no reason given" : trimmed)
    }

    package var description: String { "engine answered \(status): \(message)" }

    /// What the rest of the platform gets to see when no better word is known.
    package var platformError: PlatformError {
        PlatformError(.engineUnavailable, "The container engine refused a call with status \(status).", cause: self)
    }
}

/// Runs `body` for at most `duration` of `clock`'s time; then it is cancelled.
///
/// - Throws: `timed_out` when the time is up, else what `body` throws.
func withDeadline<Value: Sendable>(
    _ duration: Duration, clock: any PlatformClock, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await clock.sleep(for: duration)
            throw PlatformError(.timedOut, "The container engine did not answer in time.")
        }
        defer { group.cancelAll() }
        guard let value = try await group.next() else { throw CancellationError() }
        return value
    }
}

/// Counts the signs of activity of a source.
final class Pulse: Sendable {
    private let beats = Atomic(0)

    var count: Int { beats.load(ordering: .relaxed) }
    func beat() { beats.add(1, ordering: .relaxed) }
}

/// Runs `body` for as long as the pulse beats: once it has not for `limit` (or up to twice as long), the body is
/// cancelled.
///
/// - Throws: `timed_out` then, else what `body` throws.
func withSilenceLimit<Value: Sendable>(
    _ limit: Duration, of pulse: Pulse, clock: any PlatformClock, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value.self) { group in
        group.addTask { try await body() }
        group.addTask {
            var last = -1
            while true {
                let now = pulse.count
                guard now != last else {
                    throw PlatformError(.timedOut, "The container engine has said nothing for too long.")
                }
                last = now
                try await clock.sleep(for: limit)
            }
        }
        defer { group.cancelAll() }
        guard let value = try await group.next() else { throw CancellationError() }
        return value
    }
}
