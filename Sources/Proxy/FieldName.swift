/// The header fields that the proxy treats in a special way. Names are compared without case. Where the caller could
/// imitate a field of the platform, `_` is read as `-` too, because servers pass both to a program as one name. Names
/// that decide about the framing must match exactly: `Transfer_Encoding` is an ordinary field for every parser.
enum FieldName {
    case connection
    /// It concerns one connection only: `Keep-Alive`, `Proxy-Connection`, `Proxy-Authorization`, `HTTP2-Settings`.
    case hopByHop
    case transferEncoding
    case upgrade
    case te
    case contentLength
    case host
    case expect
    case date
    case cookie
    case forwarded
    case forwardedFor
    case forwardedProto
    case forwardedHost
    case forwardedPrefix
    case requestID
    /// `X-Cortex-*`.
    case cortex
    /// `Access-Control-*` of a response.
    case accessControl
    case other

    init(_ name: String) {
        var name = name
        self = name.withUTF8 { Self.find($0) }
    }

    private static func find(_ name: UnsafeBufferPointer<UInt8>) -> FieldName {
        // Most names differ in length.
        switch name.count {
        case 2: if isEqual(name, "te") { return .te }
        case 4:
            if isEqual(name, "host") { return .host }
            if isEqual(name, "date") { return .date }
        case 6:
            if isEqual(name, "expect") { return .expect }
            if isEqual(name, "cookie") { return .cookie }
        case 7: if isEqual(name, "upgrade") { return .upgrade }
        case 9: if isEqual(name, "forwarded") { return .forwarded }
        case 10:
            if isEqual(name, "connection") { return .connection }
            if isEqual(name, "keep-alive") { return .hopByHop }
        case 12: if isEqual(name, "x-request-id") { return .requestID }
        case 14:
            if isEqual(name, "content-length") { return .contentLength }
            if isEqual(name, "http2-settings") { return .hopByHop }
        case 15: if isFolded(name, "x-forwarded-for") { return .forwardedFor }
        case 16:
            if isFolded(name, "x-forwarded-host") { return .forwardedHost }
            if isEqual(name, "proxy-connection") { return .hopByHop }
        case 17:
            if isEqual(name, "transfer-encoding") { return .transferEncoding }
            if isFolded(name, "x-forwarded-proto") { return .forwardedProto }
        case 18: if isFolded(name, "x-forwarded-prefix") { return .forwardedPrefix }
        case 19: if isEqual(name, "proxy-authorization") { return .hopByHop }
        default: break
        }
        if name.count >= 9, isFolded(UnsafeBufferPointer(rebasing: name[..<9]), "x-cortex-") { return .cortex }
        if name.count > 15, isEqual(UnsafeBufferPointer(rebasing: name[..<15]), "access-control-") {
            return .accessControl
        }
        return .other
    }

    /// Whether a field may be in the trailers of a message: not one for framing, routing or authentication (contract
    /// R6; RFC 9110 §6.5.1).
    static func mayBeTrailer(_ name: String) -> Bool {
        switch FieldName(name) {
        case .other: !forbiddenTrailers.contains(name.lowercased())
        default: false
        }
    }

    private static let forbiddenTrailers: Set<String> = [
        "authorization", "proxy-authenticate", "proxy-authentication-info", "www-authenticate", "authentication-info",
        "set-cookie", "trailer", "content-encoding", "content-type", "content-range", "cache-control", "max-forwards",
        "pragma", "range", "age", "expires", "location", "retry-after", "vary", "warning", "if-match", "if-none-match",
        "if-modified-since", "if-unmodified-since", "if-range", "via",
    ]

    private static func isEqual(_ name: UnsafeBufferPointer<UInt8>, _ known: StaticString) -> Bool {
        guard name.count == known.utf8CodeUnitCount else { return false }
        for index in 0..<name.count where lowercased(name[index]) != known.utf8Start[index] { return false }
        return true
    }

    /// The comparison that reads `_` as `-`.
    private static func isFolded(_ name: UnsafeBufferPointer<UInt8>, _ known: StaticString) -> Bool {
        guard name.count == known.utf8CodeUnitCount else { return false }
        for index in 0..<name.count {
            let byte = name[index] == UInt8(ascii: "_") ? UInt8(ascii: "-") : lowercased(name[index])
            guard byte == known.utf8Start[index] else { return false }
        }
        return true
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
    }
}

/// The fields that a message's `Connection` fields name: they concern one connection only.
struct ConnectionOptions {
    /// Lower case. Nearly always empty.
    private var named: [String] = []
    private(set) var hasUpgrade = false
    private(set) var hasClose = false

    /// Adds the options of one `Connection` field.
    mutating func add(_ value: String) {
        for part in value.utf8.split(separator: UInt8(ascii: ",")) {
            let option = String(Substring(part)).lowercased().trimmedOfSpaces
            switch option {
            case "", "keep-alive", "te": break
            case "close": hasClose = true
            case "upgrade": hasUpgrade = true
            // They concern the request or its body, not the connection.
            case "host", "authorization": break
            case _ where option.hasPrefix("content-"): break
            default: named.append(option)
            }
        }
    }

    func contains(_ name: String) -> Bool {
        !named.isEmpty && named.contains(name.lowercased())
    }
}

extension String {
    /// Without the spaces and tabs around it.
    var trimmedOfSpaces: String {
        guard let first = utf8.first, let last = utf8.last,
            first == 0x20 || first == 0x09 || last == 0x20 || last == 0x09
        else { return self }
        var text = self[...]
        while let first = text.utf8.first, first == 0x20 || first == 0x09 { text.removeFirst() }
        while let last = text.utf8.last, last == 0x20 || last == 0x09 { text.removeLast() }
        return String(text)
    }

    /// Whether the text contains U+FFFD, which the parser puts in the place of bytes that are not UTF-8.
    var hasReplacement: Bool {
        // U+FFFD is EF BF BD; hardly any value contains the first of these bytes.
        guard utf8.withContiguousStorageIfAvailable({ $0.contains(0xEF) }) ?? utf8.contains(0xEF) else { return false }
        return unicodeScalars.contains("\u{FFFD}")
    }
}
