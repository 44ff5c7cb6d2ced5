/// The headers of a tar archive (POSIX.1-2017, pax interchange format): regular files only.
enum TarArchive {
    static let block = 512

    /// What precedes the bytes of a file.
    ///
    /// - Parameter modified: seconds since 1970.
    static func header(path: String, size: Int64, modified: Int64) -> [UInt8] {
        let name = Array(path.utf8)
        var records: [UInt8] = []
        if name.count > 100 || !name.allSatisfy({ $0 < 0x80 }) { records += record("path", path) }
        if size > largestOctal { records += record("size", "\(size)") }
        var bytes: [UInt8] = []
        if !records.isEmpty {
            bytes += fixed(name: Array("PaxHeader".utf8), size: Int64(records.count), modified: modified, type: "x")
            bytes += records + padding(after: Int64(records.count))
        }
        return bytes
            + fixed(name: Array(name.prefix(100)), size: min(size, largestOctal), modified: modified, type: "0")
    }

    /// What follows the bytes of a file.
    static func padding(after size: Int64) -> [UInt8] {
        let rest = Int(size % Int64(block))
        return rest == 0 ? [] : [UInt8](repeating: 0, count: block - rest)
    }

    static let end = [UInt8](repeating: 0, count: 2 * block)

    /// The number of bytes of a file in the archive.
    static func length(path: String, size: Int64) -> Int64 {
        Int64(header(path: path, size: size, modified: 0).count) + size + Int64(padding(after: size).count)
    }

    private static let largestOctal: Int64 = 0o77777777777

    /// `length key=value` with a line feed; the length includes its own digits.
    private static func record(_ key: String, _ value: String) -> [UInt8] {
        let rest = " \(key)=\(value)\n"
        var length = rest.utf8.count
        while "\(length)".utf8.count + rest.utf8.count != length { length = "\(length)".utf8.count + rest.utf8.count }
        return Array("\(length)\(rest)".utf8)
    }

    private static func fixed(name: [UInt8], size: Int64, modified: Int64, type: Character) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: block)
        func put(_ bytes: some Sequence<UInt8>, at offset: Int) {
            for (index, byte) in bytes.enumerated() { header[offset + index] = byte }
        }
        func octal(_ value: Int64, _ digits: Int) -> [UInt8] {
            let text = String(value, radix: 8)
            return Array((String(repeating: "0", count: max(0, digits - text.count)) + text).utf8)
        }
        put(name, at: 0)
        put(octal(0o644, 7), at: 100)
        put(octal(0, 7), at: 108)
        put(octal(0, 7), at: 116)
        put(octal(size, 11), at: 124)
        put(octal(max(0, modified), 11), at: 136)
        put([UInt8](repeating: 0x20, count: 8), at: 148)
        put("\(type)".utf8, at: 156)
        put("ustar".utf8, at: 257)
        put("00".utf8, at: 263)
        let sum = header.reduce(0) { $0 + Int64($1) }
        put(octal(sum, 6) + [0, 0x20], at: 148)
        return header
    }
}
