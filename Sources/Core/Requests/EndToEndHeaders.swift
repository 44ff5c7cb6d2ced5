/// The header fields of a request that are forwarded from a caller to a container (contract C3). The only such list.
///
/// Not forwarded are fields that concern one connection, fields that the platform sets, fields that a caller named in
/// `Connection`, and `X-Cortex-*`. Names are compared without case and with `_` read as `-`, because CGI and WSGI
/// servers pass both to a program as one name.
package struct EndToEndHeaders: Sendable {
    /// Folded names from the caller's `Connection` fields.
    private var named: [[UInt8]] = []

    /// - Parameter connection: the values of all `Connection` fields of the request.
    package init(connection values: [String]) {
        for value in values {
            for option in value.utf8.split(separator: UInt8(ascii: ",")) {
                let name = option.filter { $0 != 0x20 && $0 != 0x09 }.map(Self.folded)
                // The usual options, which name no field or one of the list below, cost nothing later.
                if Self.inert.contains(where: { Self.isEqual(name, $0) }) { continue }
                // It describes the body, which is always forwarded.
                if Self.isEqual(name, "content-type") || name.isEmpty { continue }
                named.append(name)
            }
        }
    }

    /// Whether a field of this name is forwarded.
    package func contains(_ name: String) -> Bool {
        var name = name
        return name.withUTF8 { bytes in
            if Self.isDropped(bytes) { return false }
            return named.isEmpty
                || !named.contains { other in
                    other.count == bytes.count && zip(other, bytes).allSatisfy { $0 == Self.folded($1) }
                }
        }
    }

    private static let inert: [StaticString] = ["close", "keep-alive", "upgrade", "te", "http2-settings"]

    private static func isDropped(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
        // Most names differ in length.
        switch name.count {
        case 2: if isEqual(name, "te") { return true }
        case 4: if isEqual(name, "host") { return true }
        case 6: if isEqual(name, "expect") || isEqual(name, "prefer") { return true }
        case 7: if isEqual(name, "trailer") || isEqual(name, "upgrade") { return true }
        case 10: if isEqual(name, "connection") || isEqual(name, "keep-alive") { return true }
        case 14: if isEqual(name, "content-length") || isEqual(name, "http2-settings") { return true }
        case 15: if isEqual(name, "accept-encoding") { return true }
        case 16: if isEqual(name, "proxy-connection") { return true }
        case 17: if isEqual(name, "transfer-encoding") { return true }
        case 18: if isEqual(name, "proxy-authenticate") { return true }
        case 19: if isEqual(name, "proxy-authorization") { return true }
        default: break
        }
        // The platform's own fields, which callers cannot set.
        return name.count >= 9 && isEqual(UnsafeBufferPointer(rebasing: name[..<9]), "x-cortex-")
    }

    private static func isEqual(_ name: some Collection<UInt8>, _ known: StaticString) -> Bool {
        guard name.count == known.utf8CodeUnitCount else { return false }
        var index = 0
        for byte in name {
            guard folded(byte) == known.utf8Start[index] else { return false }
            index += 1
        }
        return true
    }

    private static func folded(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
        case UInt8(ascii: "_"): UInt8(ascii: "-")
        default: byte
        }
    }
}
