import Core
import HTTPServing
import NIOHTTP1

/// What the proxy reads from a request's head, and the head that the container gets (contract R1 … R3). Pure.
struct RequestHead {
    /// How the body of a message ends.
    enum Framing: Sendable, Hashable {
        case none
        case length(Int64)
        case chunked
    }

    let framing: Framing
    /// The caller speaks HTTP/1.0.
    let isOld: Bool
    let isHead: Bool
    let mayKeepAlive: Bool
    /// `Expect: 100-continue` of a caller that understands the answer.
    let expectsContinue: Bool
    /// Offers an upgrade that is passed on: any but `h2c`.
    let offersUpgrade: Bool
    /// Whether it may be repeated by its method (contract R15, `retries.on`).
    let isIdempotent: Bool
    /// The head for the container.
    let forContainer: HTTPRequestHead

    /// What the platform adds to the fields of a request.
    struct Additions {
        var id: String
        var peer: CallerPeer
        /// The endpoint.
        var prefix: String
        /// More fields, such as `X-Cortex-Shadow`.
        var extra: [(String, String)] = []
    }

    /// - Throws: ``ProxyFailure`` for a request that is not forwarded.
    init(_ head: HTTPRequestHead, target: String, adding additions: Additions) throws(ProxyFailure) {
        if head.method == .CONNECT || head.method == .TRACE { throw ProxyFailure.method(head.method) }
        guard target.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { throw ProxyFailure.target }
        var options = ConnectionOptions()
        for value in head.headers[canonicalForm: "connection"] { options.add(String(value)) }
        let isOld = head.version.isBefore11
        var framing = Framing.none
        var upgrade: String?
        var expects = false
        var hasRequestID = false
        var hasIdempotencyKey = false
        var forwardedFor = ""
        var forwarded = ""
        var proto: String?
        var host: String?
        var forwardedHost: String?
        var prefix = ""
        var fields: [(String, String)] = []
        fields.reserveCapacity(head.headers.count + 10)
        for (name, value) in head.headers {
            if value.hasReplacement { throw ProxyFailure.value(name) }
            let value = value.trimmedOfSpaces
            let isTrusted = additions.peer.isTrusted
            let field = FieldName(name)
            // The framing stays what the parser found.
            if options.contains(name), field != .transferEncoding { continue }
            switch field {
            case .connection, .hopByHop, .cortex: continue
            case .transferEncoding:
                framing = .chunked
                continue
            case .upgrade:
                // Only the last protocol could be h2c, which is not spoken here; a list is passed on as it is.
                if value.trimmedOfSpaces.lowercased() != "h2c" { upgrade = upgrade.map { "\($0), \(value)" } ?? value }
                continue
            case .te:
                guard value.lowercased().split(separator: ",").contains(where: { $0.contains("trailers") }) else {
                    continue
                }
                fields.append((name, "trailers"))
                continue
            case .contentLength: framing = .length(Int64(value.trimmedOfSpaces) ?? 0)
            case .expect: expects = value.trimmedOfSpaces.lowercased() == "100-continue"
            case .host: host = value.trimmedOfSpaces
            case .requestID: hasRequestID = true
            case .forwarded:
                if isTrusted { forwarded += (forwarded.isEmpty ? "" : ", ") + value }
                continue
            case .forwardedFor:
                if isTrusted { forwardedFor += (forwardedFor.isEmpty ? "" : ", ") + value }
                continue
            case .forwardedPrefix:
                if isTrusted { prefix += (prefix.isEmpty ? "" : ", ") + value }
                continue
            case .forwardedProto:
                if isTrusted { proto = value }
                continue
            case .forwardedHost:
                if isTrusted { forwardedHost = value }
                continue
            case .date, .cookie, .accessControl: break
            case .other:
                if name.utf8.count == 15, name.lowercased() == "idempotency-key" { hasIdempotencyKey = true }
            }
            fields.append((name, value))
        }
        if framing == .chunked { fields.append(("Transfer-Encoding", "chunked")) }
        let isUpgrade = options.hasUpgrade && upgrade != nil && !isOld
        if isUpgrade, let upgrade {
            fields.append(("Connection", "upgrade"))
            fields.append(("Upgrade", upgrade))
        }
        // The container gets HTTP/1.1, which requires it; only HTTP/1.0 omits it.
        if host == nil { fields.append(("Host", "localhost")) }
        fields.append(("X-Cortex-Request-ID", additions.id))
        if !hasRequestID { fields.append(("X-Request-ID", additions.id)) }
        fields.append(("Via", "1.1 cortex"))
        let address = additions.peer.address
        fields.append(
            ("X-Forwarded-For", (forwardedFor.isEmpty ? "" : forwardedFor + ", ") + (address ?? "unknown")))
        fields.append(("X-Forwarded-Proto", proto ?? "http"))
        if let name = forwardedHost ?? host { fields.append(("X-Forwarded-Host", name)) }
        fields.append(("X-Forwarded-Prefix", (prefix.isEmpty ? "" : prefix + ", ") + additions.prefix))
        if !forwarded.isEmpty { forwarded += ", " }
        forwarded += Self.forwarded(for: additions.peer, host: host)
        fields.append(("Forwarded", forwarded))
        fields += additions.extra
        self.framing = framing
        self.isOld = isOld
        self.isHead = head.method == .HEAD
        self.mayKeepAlive = head.isKeepAlive
        self.expectsContinue = expects && !isOld && framing != .none && framing != .length(0)
        self.offersUpgrade = isUpgrade
        self.isIdempotent =
            switch head.method {
            case .GET, .HEAD, .OPTIONS, .PUT, .DELETE: true
            default: hasIdempotencyKey
            }
        // NIO writes this one method without its hyphen.
        let method: HTTPMethod = head.method == .MSEARCH ? .RAW(value: "M-SEARCH") : head.method
        self.forContainer = HTTPRequestHead(
            version: .http1_1, method: method, uri: target, headers: HTTPHeaders(fields))
    }

    /// A request that is refused: only what its answer depends on.
    init(refused head: HTTPRequestHead) {
        self.framing =
            head.headers.contains(name: "transfer-encoding")
            ? .chunked
            : head.headers.first(name: "content-length").map { .length(Int64($0.trimmedOfSpaces) ?? 0) } ?? .none
        self.isOld = head.version.isBefore11
        self.isHead = head.method == .HEAD
        self.mayKeepAlive = head.isKeepAlive && head.method != .CONNECT
        self.expectsContinue = head.headers.contains(name: "expect") && self.framing != .none
        self.offersUpgrade = false
        self.isIdempotent = false
        self.forContainer = head
    }

    /// What the container gets as the target of a request: the path behind the endpoint, and the query, byte for byte
    /// (contract R1).
    static func target(rest: Substring, query: String?) -> String {
        var target = rest.isEmpty ? "/" : String(rest)
        if let query {
            target += "?"
            target += query
        }
        return target
    }

    /// An element of a `Forwarded` field (RFC 7239).
    private static func forwarded(for peer: CallerPeer, host: String?) -> String {
        var text = "for="
        text.reserveCapacity(80)
        if let address = peer.address, peer.isVersion6 {
            text += "\"["
            text += address
            text += "]\""
        } else {
            text += peer.address ?? "unknown"
        }
        if let host {
            let quote = isToken(host) ? "" : "\""
            text += ";host="
            text += quote
            text += host
            text += quote
        }
        text += ";proto=http"
        return text
    }

    private static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}

/// The head of a response for the caller (contract R4, R5). Pure.
struct ResponseHead {
    /// How the response is sent to the caller.
    enum Framing: Sendable, Hashable {
        /// No body.
        case none
        case length(Int64)
        case chunked
        /// The body ends with the connection.
        case close
    }

    /// What the platform adds to the fields of a response.
    struct Additions {
        var id: String
        var origin: String
        var date: String
        var extra: [(String, String)] = []
        /// CORS fields of the platform in place of the container's; `nil`: the container's are passed on.
        var cors: HTTPHeaders?
    }

    var framing: Framing
    var head: HTTPResponseHead
    /// Whether another request may follow on the caller's connection.
    var mayKeepAlive: Bool

    /// - Parameter mayKeepAlive: whether request and connection permit another request.
    /// - Throws: ``ProxyFailure`` for a response that is not forwarded.
    init(
        _ container: HTTPResponseHead, to request: RequestHead, mayKeepAlive: Bool, adding additions: Additions
    ) throws(ProxyFailure) {
        var options = ConnectionOptions()
        for value in container.headers[canonicalForm: "connection"] { options.add(String(value)) }
        let isUpgrade = container.status == .switchingProtocols
        let hasNoBody =
            request.isHead || container.status.code < 200 || container.status == .noContent
            || container.status == .notModified
        var length: Int64?
        var isChunked = false
        var hasDate = false
        var upgrade: [String] = []
        var fields: [(String, String)] = []
        fields.reserveCapacity(container.headers.count + 6 + additions.extra.count)
        for (name, value) in container.headers {
            if value.hasReplacement { throw ProxyFailure.malformedValue(of: name) }
            let value = value.trimmedOfSpaces
            let field = FieldName(name)
            if options.contains(name), field != .transferEncoding { continue }
            switch field {
            case .connection, .hopByHop, .te: continue
            case .transferEncoding:
                isChunked = true
                continue
            case .upgrade:
                upgrade.append(value)
                continue
            case .contentLength:
                length = Int64(value.trimmedOfSpaces)
                // A response to HEAD and a 304 say what the body of another request would have (contract R2).
                let isKept = !hasNoBody || request.isHead || container.status == .notModified
                guard isKept, length != nil else { continue }
            case .cortex:
                if Self.isOurs(name) { continue }
            case .date: hasDate = true
            case .accessControl:
                if additions.cors != nil { continue }
            default: break
            }
            fields.append((name, value))
        }
        if hasNoBody {
            framing = .none
        } else if isChunked || length == nil {
            framing = request.isOld ? .close : .chunked
            if !request.isOld { fields.append(("Transfer-Encoding", "chunked")) }
        } else {
            framing = .length(length ?? 0)
        }
        if isUpgrade {
            fields.append(("Connection", "upgrade"))
            for value in upgrade { fields.append(("Upgrade", value)) }
        }
        self.mayKeepAlive = mayKeepAlive && framing != .close
        if !isUpgrade {
            if !self.mayKeepAlive {
                fields.append(("Connection", "close"))
            } else if request.isOld {
                fields.append(("Connection", "keep-alive"))
            }
        }
        fields.append(("X-Cortex-Request-ID", additions.id))
        fields.append(("X-Cortex-Origin", additions.origin))
        if !hasDate { fields.append(("Date", additions.date)) }
        fields += additions.extra
        for (name, value) in additions.cors ?? [:] { fields.append((name, value)) }
        self.head = HTTPResponseHead(version: .http1_1, status: container.status, headers: HTTPHeaders(fields))
    }

    /// An interim response for the caller, without fields that concern one connection.
    static func interim(_ container: HTTPResponseHead) -> HTTPResponseHead {
        var options = ConnectionOptions()
        for value in container.headers[canonicalForm: "connection"] { options.add(String(value)) }
        var fields = HTTPHeaders()
        for (name, value) in container.headers where !options.contains(name) {
            switch FieldName(name) {
            case .connection, .hopByHop, .te, .transferEncoding, .upgrade, .contentLength: continue
            case .cortex where isOurs(name): continue
            default: fields.add(name: name, value: value.trimmedOfSpaces)
            }
        }
        return HTTPResponseHead(version: .http1_1, status: container.status, headers: fields)
    }

    /// The trailers of a message that are passed on (contract R6).
    static func trailers(_ trailers: HTTPHeaders?) -> HTTPHeaders? {
        guard let trailers else { return nil }
        var passed = HTTPHeaders()
        for (name, value) in trailers where FieldName.mayBeTrailer(name) {
            passed.add(name: name, value: value.trimmedOfSpaces)
        }
        return passed.isEmpty ? nil : passed
    }

    /// The name of a field whose value is not valid UTF-8 (contract R3, R4); `nil` if there is none.
    static func invalidField(in fields: HTTPHeaders) -> String? {
        fields.first { $0.value.hasReplacement }?.name
    }

    /// Fields that the platform sets; a container cannot.
    private static func isOurs(_ name: String) -> Bool {
        switch name.lowercased().replacing("_", with: "-") {
        case "x-cortex-request-id", "x-cortex-origin", "x-cortex-attempts", "x-cortex-api", "x-cortex-fallback": true
        default: false
        }
    }
}
