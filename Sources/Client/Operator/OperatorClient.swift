import AsyncHTTPClient
package import Core
import Foundation
package import NIOCore
import NIOHTTP1
package import Wire

/// The cause of an error when the server at an operator's URL is not an operator.
package struct NotAnOperator: Error {}

/// The operator's REST interface (reference: cortex.md §8). Safe from any task.
///
/// Every call throws ``PlatformError``: the operator's error, or `connection_failed` with the address and what to do.
package struct OperatorClient: Sendable {
    package let environment: Environment
    let base: EndpointURL
    let transport: Transport
    package let version: String
    /// The socket of a platform on this machine; `nil` for a platform elsewhere.
    private let socket: LocalSocket?
    /// Without the line end that a file may have added.
    private let token: String?

    /// Time for calls that only read.
    static let readTimeout: Duration = .seconds(30)
    /// Time for calls that change something.
    static let writeTimeout: Duration = .seconds(600)
    /// Longest answer, in bytes.
    static let answerLimit = 64 << 20

    /// - Throws: ``PlatformError`` `setup` when the environment's endpoint is no URL, or its socket is not to be
    ///   trusted; `connection_failed` when its socket is gone.
    package init(environment: Environment, transport: Transport, version: String = CortexVersion.current) throws {
        self.environment = environment
        self.transport = transport
        self.version = version
        do {
            self.base = try EndpointURL(environment.operatorEndpoint)
        } catch let error as PlatformError {
            throw PlatformError(
                .setup,
                "environment \(environment.name): \(error.message); correct it with:"
                    + " cortex env configure \(environment.name) -o URL")
        }
        self.token = try environment.token.flatMap {
            try TokenText.clean($0, from: "cli.yaml (environment \(environment.name))")
        }
        do {
            self.socket = try environment.operatorSocket.map(LocalSocket.init)
        } catch let error as PlatformError where error.code == .connectionFailed {
            throw Peer(address: base.text, environment: environment.name).nothingAnswers(error)
        }
    }

    /// Whether a Cortex operator answers there (`GET /verifycortex`); needs no token.
    ///
    /// - Throws: ``PlatformError`` `connection_failed` with the cause ``NotAnOperator`` when something else answers
    ///   there.
    package func verify() async throws {
        let stranger = PlatformError(
            .connectionFailed,
            "what answers at \(base) is not a Cortex operator; check the URL: the operator's port is 8888 unless another"
                + " was chosen, 8889 is the gateway's", cause: NotAnOperator())
        do {
            let reply = try await send("GET", "/verifycortex", timeout: .seconds(10))
            let first = reply.body.readableBytesView.first { $0 != UInt8(ascii: " ") }
            guard first == UInt8(ascii: "{") else { throw stranger }
        } catch let error as PlatformError where error.code == .notFound {
            throw stranger
        }
    }

    /// The cluster: version, engine, addresses (`GET /info`).
    package func info() async throws -> InfoDocument {
        try await call("GET", "/info", timeout: .seconds(10))
    }

    /// Each part of the platform (`GET /health`).
    package func health() async throws -> HealthDocument {
        try await call("GET", "/health", timeout: .seconds(20))
    }

    /// All APIs (`GET /get`).
    package func apis(timeout: Duration = readTimeout) async throws -> [APIDocument] {
        try await apisWithText(timeout: timeout).document
    }

    /// All APIs, and the operator's text of them.
    package func apisWithText(timeout: Duration = readTimeout) async throws -> DocumentWithText<[APIDocument]> {
        try await callWithText("/get", timeout: timeout)
    }

    /// One API with its history (`GET /get/{api}`).
    package func api(_ name: String, timeout: Duration = readTimeout) async throws -> APIDocument {
        let list: [APIDocument] = try await call("GET", "/get/\(Self.segment(name))", timeout: timeout)
        return try one(list, name)
    }

    /// One API with its history, or one of its versions (`GET /get/{api}/{apiID}`), which is complete for the present
    /// one and otherwise only a specification. The text is a list with one element.
    package func apiWithText(_ name: String, version: String? = nil) async throws -> DocumentWithText<APIDocument> {
        let version = version.map { "/\(Self.segment($0))" } ?? ""
        let list: DocumentWithText<[APIDocument]> = try await callWithText("/get/\(Self.segment(name))\(version)")
        return DocumentWithText(document: try one(list.document, name), text: list.text)
    }

    /// One API with its replicas (`GET /describe/{api}`).
    package func describe(_ name: String) async throws -> APIDocument {
        try await describeWithText(name).document
    }

    /// One API with its replicas, and the operator's text: a list with one element.
    package func describeWithText(_ name: String) async throws -> DocumentWithText<APIDocument> {
        let list: DocumentWithText<[APIDocument]> = try await callWithText("/describe/\(Self.segment(name))")
        return DocumentWithText(document: try one(list.document, name), text: list.text)
    }

    /// Restarts all replicas (`POST /refresh/{api}`).
    package func refresh(_ name: String, force: Bool) async throws -> MessageDocument {
        try await call(
            "POST", "/refresh/\(Self.segment(name))", query: [("force", "\(force)")], timeout: Self.writeTimeout)
    }

    /// Removes an API (`DELETE /delete/{api}`); its requests too, unless `keepCache`.
    package func delete(_ name: String, keepCache: Bool) async throws -> MessageDocument {
        try await call(
            "DELETE", "/delete/\(Self.segment(name))", query: [("keepCache", "\(keepCache)")],
            timeout: Self.writeTimeout)
    }

    private func one(_ list: [APIDocument], _ name: String) throws -> APIDocument {
        guard let api = list.first else {
            throw PlatformError(.notFound, "no API \"\(name)\" is deployed; see what is with: cortex get")
        }
        return api
    }
}

extension OperatorClient {
    var peer: Peer { Peer(address: base.text, environment: environment.name) }

    /// A request with the token and the version that the operator compares with its own (contract O6).
    func request(_ method: String, _ path: String, query: [(String, String)] = []) -> HTTPClientRequest {
        var url = (socket.map { "http+unix://\(Self.segment($0.path))\(base.path)" } ?? base.text) + path
        if !query.isEmpty {
            url += "?" + query.map { "\($0.0)=\(Self.queryValue($0.1))" }.joined(separator: "&")
        }
        var request = HTTPClientRequest(url: url)
        request.method = HTTPMethod(rawValue: method)
        if socket != nil { request.headers.add(name: "Host", value: base.authority) }
        request.headers.add(name: VersionHandshake.header, value: version)
        request.headers.add(name: "User-Agent", value: "cortex/\(version)")
        request.headers.add(name: "Accept", value: "application/json")
        if let token {
            request.headers.add(name: "Authorization", value: "Bearer \(token)")
        }
        return request
    }

    func send(
        _ method: String, _ path: String, query: [(String, String)] = [], timeout: Duration = readTimeout,
        body: (type: String, bytes: ByteBuffer)? = nil
    ) async throws -> Reply {
        var request = request(method, path, query: query)
        if let body {
            request.headers.add(name: "Content-Type", value: body.type)
            request.body = .bytes(body.bytes)
        }
        return try await send(request, path, timeout: timeout)
    }

    /// Sends a request of ``request(_:_:query:)``.
    ///
    /// - Parameter limit: the longest answer, in bytes.
    func send(
        _ request: HTTPClientRequest, _ path: String, timeout: Duration, limit: Int = answerLimit
    ) async throws -> Reply {
        let reply = try await transport.send(request, timeout: timeout, limit: limit, peer: peer)
        guard (200..<300).contains(reply.status.code) else { throw peer.error(for: reply) }
        // A server that accepts this client may still have a version that this client does not know (contract O6).
        if !Self.anyVersion.contains(path), let server = reply.headers.first(name: VersionHandshake.header) {
            try VersionHandshake.check(client: version, server: server)
        }
        return reply
    }

    func call<Document: Decodable>(
        _ method: String, _ path: String, query: [(String, String)] = [], timeout: Duration = readTimeout,
        body: (type: String, bytes: ByteBuffer)? = nil
    ) async throws -> Document {
        try decode(try await send(method, path, query: query, timeout: timeout, body: body).body)
    }

    func callWithText<Document: Decodable & Sendable>(
        _ path: String, query: [(String, String)] = [], timeout: Duration = readTimeout
    ) async throws -> DocumentWithText<Document> {
        let text = try await send("GET", path, query: query, timeout: timeout).body
        return DocumentWithText(document: try decode(text), text: text)
    }

    func decode<Document: Decodable>(_ text: ByteBuffer) throws -> Document {
        do {
            return try AnswerDecoder.decode(Document.self, from: Data(buffer: text))
        } catch {
            throw PlatformError(
                .connectionFailed,
                "the answer of \(base) is not understood; compare both versions with: cortex version", cause: error)
        }
    }

    /// What answers a client of any version: this is how it learns the server's.
    private static let anyVersion: Set<String> = ["/verifycortex", "/info", "/health"]

    static func segment(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: unreserved) ?? text
    }

    private static func queryValue(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: unreserved) ?? text
    }

    private static let unreserved = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
}

/// A configuration file on its way to the operator.
package struct ConfigurationUpload: Sendable, Hashable {
    package var content: [UInt8]
    /// Its name, for messages.
    package var fileName: String
    /// Its absolute folder, which relative volume sources are resolved against; `nil` where there is none.
    package var directory: String?

    package init(content: [UInt8], fileName: String, directory: String?) {
        self.content = content
        self.fileName = fileName
        self.directory = directory
    }
}

extension OperatorClient {
    /// Deploys every API of a file (`POST /deploy`, a form with the part `config`).
    ///
    /// - Throws: `configuration_invalid` with every problem, and then nothing was deployed. The error of one
    ///   API is in its result.
    package func deploy(_ upload: ConfigurationUpload, force: Bool) async throws -> [DeployResultDocument] {
        guard upload.content.count <= Limits.configuration else {
            throw PlatformError(
                .payloadTooLarge,
                "\(upload.fileName) is larger than \(Limits.configuration) bytes; is it the right file?")
        }
        var query = [("configFileName", upload.fileName), ("force", "\(force)")]
        if let directory = upload.directory { query.append(("configDir", directory)) }
        let boundary = Self.boundary(for: upload.content)
        var form = ByteBuffer()
        form.writeString("--\(boundary)\r\n")
        form.writeString("Content-Disposition: form-data; name=\"config\"; filename=\"config\"\r\n")
        form.writeString("Content-Type: application/yaml\r\n\r\n")
        form.writeBytes(upload.content)
        form.writeString("\r\n--\(boundary)--\r\n")
        return try await call(
            "POST", "/deploy", query: query, timeout: Self.writeTimeout,
            body: ("multipart/form-data; boundary=\(boundary)", form))
    }

    /// A boundary that does not occur in the content: no randomness is needed for that.
    static func boundary(for content: [UInt8]) -> String {
        let data = Data(content)
        var number = 0
        while data.range(of: Data("cortex-form-\(number)".utf8)) != nil { number += 1 }
        return "cortex-form-\(number)"
    }
}

extension OperatorClient {
    /// Deploys an earlier version of an API again (`POST /rollback/{api}`).
    ///
    /// - Parameter version: its id or the beginning of it; `nil` for the one before the present.
    /// - Throws: `not_found` with the versions that are kept; `asyncapi.api_updating` while it is being updated, unless
    ///   `force`.
    package func rollback(_ name: String, to version: String?, force: Bool) async throws -> MessageDocument {
        var query = [("force", "\(force)")]
        if let version { query.append(("version", version)) }
        return try await call(
            "POST", "/rollback/\(Self.segment(name))", query: query, timeout: Self.writeTimeout)
    }
}

extension OperatorClient {
    /// A page of an API's requests, newest first (`GET /requests/{api}`).
    package func requests(
        _ name: String, status: RequestStatus? = nil, before: RequestID? = nil, limit: Int
    ) async throws -> RequestListDocument {
        var query = [("limit", "\(limit)")]
        if let status { query.append(("status", status.rawValue)) }
        if let before { query.append(("before", before.description)) }
        return try await call("GET", "/requests/\(Self.segment(name))", query: query)
    }

    /// Puts a failed request back into the queue (`POST /retry/{api}/{id}`).
    package func retry(_ id: RequestID, api: String) async throws -> RequestDocument {
        try await call("POST", "/retry/\(Self.segment(api))/\(id)", timeout: Self.writeTimeout)
    }
}

extension OperatorClient {
    /// Changes the weights of a TrafficSplitter, which creates a new version (`POST /split/{name}`, contract X10).
    ///
    /// - Parameter weights: percent of each target but the shadow; 100 together.
    /// - Throws: `conflict` when another change was made at the same time.
    package func split(_ name: String, weights: [String: Int]) async throws -> MessageDocument {
        try await split(name, SplitBody(weights: weights))
    }

    /// Lets a target that the guard has rolled back take requests again (`POST /split/{name}`, contract X8).
    package func resumeSplit(_ name: String) async throws -> MessageDocument {
        try await split(name, SplitBody(resume: true))
    }

    private func split(_ name: String, _ body: SplitBody) async throws -> MessageDocument {
        try await call(
            "POST", "/split/\(Self.segment(name))", timeout: Self.writeTimeout,
            body: ("application/json", ByteBuffer(bytes: try JSONEncoder().encode(body))))
    }

    /// Exactly one of its members.
    private struct SplitBody: Encodable {
        var weights: [String: Int]?
        var resume: Bool?
    }
}

extension OperatorClient {
    /// Lines of an API's replicas (`GET /logs/{api}`, `application/x-ndjson`). Cancel the reading task to stop a stream
    /// that follows.
    ///
    /// An error that the operator reports in the middle ends the stream with it.
    ///
    /// - Parameter job: only the containers of this job, instead of those of the API's replicas (contract J12).
    package func logs(
        _ name: String, options: LogOptions, job: JobLogSelection? = nil
    ) async throws -> AsyncThrowingStream<[LogLineDocument], any Error> {
        var query: [(String, String)] = []
        if options.follow { query.append(("follow", "true")) }
        if let tail = options.tail { query.append(("tail", "\(tail)")) }
        if let replica = options.replica { query.append(("replica", replica)) }
        if let container = options.container { query.append(("container", container)) }
        if let job { query += job.query }
        var request = request("GET", "/logs/\(Self.segment(name))", query: query)
        request.headers.replaceOrAdd(name: "Accept", value: "application/x-ndjson")
        let peer = peer
        let response = try await transport.open(request, timeout: Self.readTimeout, peer: peer)
        guard (200..<300).contains(response.status.code) else {
            throw peer.error(for: try await Reply(response, limit: Self.answerLimit, peer: peer))
        }
        let lines = LineReader(body: response.body, peer: peer)
        return AsyncThrowingStream { try await lines.next() }
    }
}

/// Reads lines of one container in the operator's spelling, without escapes in the text: a tenth of the work of a JSON
/// decoder.
private struct UsualLine {
    private let prefix: [UInt8]
    private let replica: String
    private let container: String

    init?(like document: LogLineDocument) {
        guard let replica = document.replica, let container = document.container, document.text != nil,
            (replica + container).utf8.allSatisfy(Self.isPlain)
        else { return nil }
        self.prefix = Array(#"{"container":"\#(container)","replica":"\#(replica)","text":""#.utf8)
        self.replica = replica
        self.container = container
    }

    /// `nil` for any other line.
    func document(in line: ByteBuffer) -> LogLineDocument? {
        line.withUnsafeReadableBytes { bytes in
            guard bytes.count >= prefix.count + 2, bytes.prefix(prefix.count).elementsEqual(prefix),
                bytes[bytes.count - 2] == UInt8(ascii: "\""), bytes[bytes.count - 1] == UInt8(ascii: "}")
            else { return nil }
            let text = bytes[prefix.count..<(bytes.count - 2)]
            guard text.allSatisfy(Self.isPlain), let text = String(validating: text, as: UTF8.self) else { return nil }
            return LogLineDocument(replica: replica, container: container, text: text)
        }
    }

    /// Whether a byte stands for itself in a JSON string.
    private static func isPlain(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
    }
}

/// Cuts a body into the documents of an ndjson stream. Read by one task only, as the stream around it is.
private actor LineReader {
    private var iterator: HTTPClientResponse.Body.AsyncIterator?
    private var buffer = ByteBuffer()
    /// Bytes of `buffer` that are known to hold no line end.
    private var searched = 0
    private let peer: Peer

    /// The form of the line before, which the next one probably has too.
    private var usual: UsualLine?
    /// Thrown by the next call.
    private var failure: (any Error)?

    /// A line with JSON escapes is longer than the log line in it.
    private static let lineLimit = Limits.logLine * 8 + 4096

    init(body: HTTPClientResponse.Body, peer: Peer) {
        self.iterator = body.makeAsyncIterator()
        self.peer = peer
    }

    /// The documents of all lines that have arrived, at least one; `nil` at the end.
    func next() async throws -> [LogLineDocument]? {
        var documents: [LogLineDocument] = []
        while true {
            if let failure {
                self.failure = nil
                throw failure
            }
            do {
                while let line = try takeLine() {
                    if let document = try document(in: line) { documents.append(document) }
                }
            } catch  where !documents.isEmpty {
                // After the lines before it.
                failure = error
            }
            if !documents.isEmpty { return documents }
            guard var part = try await nextPart() else {
                // The last line may have no end.
                guard buffer.readableBytes > 0 else { return nil }
                buffer.writeInteger(UInt8(ascii: "\n"))
                continue
            }
            // Once a part, not once a line, because it moves the remaining bytes.
            buffer.discardReadBytes()
            buffer.writeBuffer(&part)
        }
    }

    /// The next whole line without its end, if it has arrived.
    private func takeLine() throws -> ByteBuffer? {
        let view = buffer.readableBytesView
        guard let end = view.dropFirst(searched).firstIndex(of: UInt8(ascii: "\n")) else {
            searched = view.count
            guard searched <= Self.lineLimit else {
                throw PlatformError(.connectionFailed, "the log stream of \(peer.address) has a line without an end")
            }
            return nil
        }
        let line = buffer.readSlice(length: end - view.startIndex)
        buffer.moveReaderIndex(forwardBy: 1)
        searched = 0
        return line
    }

    /// `nil` for a heartbeat.
    private func document(in line: ByteBuffer) throws -> LogLineDocument? {
        if let document = usual?.document(in: line) { return document }
        let view = line.readableBytesView
        if view.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") }) { return nil }
        guard let document = try? JSONDecoder().decode(LogLineDocument.self, from: Data(view)) else {
            throw PlatformError(
                .connectionFailed,
                "the log stream of \(peer.address) is not understood; compare both versions with: cortex version")
        }
        if let error = document.error {
            throw PlatformError(PlatformError.Code(kind: error.kind) ?? .internal, error.message)
        }
        usual = UsualLine(like: document)
        return document
    }

    private func nextPart() async throws -> ByteBuffer? {
        // Removed while it is used: an iterator serves one call at a time.
        guard var iterator else { return nil }
        self.iterator = nil
        do {
            let part = try await iterator.next(isolation: self)
            if part != nil { self.iterator = iterator }
            return part
        } catch {
            throw peer.error(for: error)
        }
    }
}

/// A document of the operator, and its text: the text keeps the digits, escapes and order of a job's configuration,
/// which the document does not.
package struct DocumentWithText<Document: Sendable>: Sendable {
    package var document: Document
    package var text: ByteBuffer

    package init(document: Document, text: ByteBuffer) {
        self.document = document
        self.text = text
    }
}
