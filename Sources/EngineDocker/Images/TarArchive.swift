/// Writes a tar archive (ustar) into memory. The same entries give the same bytes: times are zero, owners are root.
package struct TarArchive: Sendable {
    private var bytes: [UInt8] = []

    package init() {}

    /// A name or link is longer than a tar header can hold.
    package struct NameTooLong: Error, Sendable, Hashable {
        package let name: String
    }

    /// Adds a folder.
    package mutating func addDirectory(_ path: String, mode: UInt16 = 0o755) throws(NameTooLong) {
        try addHeader(path.hasSuffix("/") ? path : path + "/", kind: "5", mode: mode, size: 0)
    }

    /// Adds a file with its content.
    package mutating func addFile(_ path: String, _ content: [UInt8], mode: UInt16 = 0o644) throws(NameTooLong) {
        try addHeader(path, kind: "0", mode: mode, size: content.count)
        bytes.append(contentsOf: content)
        pad()
    }

    /// Adds a symbolic link.
    package mutating func addLink(_ path: String, to target: String) throws(NameTooLong) {
        try addHeader(path, kind: "2", mode: 0o777, size: 0, target: target)
    }

    /// The archive with its end mark.
    package func finished() -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: 1024)
    }

    private mutating func pad() {
        let rest = bytes.count % 512
        if rest != 0 { bytes.append(contentsOf: repeatElement(0, count: 512 - rest)) }
    }

    private mutating func addHeader(
        _ path: String, kind: Unicode.Scalar, mode: UInt16, size: Int, target: String = ""
    ) throws(NameTooLong) {
        guard let (prefix, name) = Self.split(path) else { throw NameTooLong(name: path) }
        guard target.utf8.count <= 100 else { throw NameTooLong(name: target) }
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { header[offset + index] = byte }
        }
        func octal(_ value: Int, width: Int) -> String {
            let digits = String(value, radix: 8)
            return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
        }
        put(name, at: 0)
        put(octal(Int(mode), width: 7), at: 100)
        put(octal(0, width: 7), at: 108)
        put(octal(0, width: 7), at: 116)
        put(octal(size, width: 11), at: 124)
        put(octal(0, width: 11), at: 136)
        put("        ", at: 148)
        put(String(Character(kind)), at: 156)
        put(target, at: 157)
        put("ustar\u{0}00", at: 257)
        put(prefix, at: 345)
        let sum = header.reduce(0) { $0 + Int($1) }
        put(octal(sum, width: 6) + "\u{0} ", at: 148)
        bytes.append(contentsOf: header)
    }

    /// A path as ustar wants it: at most 155 bytes, a slash that is left out, at most 100 bytes.
    private static func split(_ path: String) -> (prefix: String, name: String)? {
        let bytes = Array(path.utf8)
        if bytes.count <= 100 { return ("", path) }
        for index in bytes.indices.dropLast().reversed() where bytes[index] == UInt8(ascii: "/") {
            guard index <= 155, bytes.count - index - 1 <= 100 else { continue }
            return (
                String(decoding: bytes[..<index], as: UTF8.self), String(decoding: bytes[(index + 1)...], as: UTF8.self)
            )
        }
        return nil
    }
}
