/// The place of a body in a segment file. Its name is the value of the column `file` in rows: `SEGMENT+OFFSET+LENGTH`,
/// hexadecimal.
struct SegmentPlace: Hashable, Sendable {
    /// Bodies begin at multiples of this number of bytes, so that the space of each can be released without its
    /// neighbours.
    static let block: Int64 = 4096

    let segment: String
    let offset: Int64
    /// Bytes of the body.
    let length: Int64

    init(segment: String, offset: Int64, length: Int64) {
        self.segment = segment
        self.offset = offset
        self.length = length
    }

    /// `nil` if the text is not the name of a place.
    init?(_ name: String) {
        let parts = name.split(separator: "+", omittingEmptySubsequences: false)
        guard parts.count == 3, BodyName.isValid(parts[0]), let offset = Int64(parts[1], radix: 16), offset >= 0,
            let length = Int64(parts[2], radix: 16), length > 0
        else { return nil }
        self.init(segment: String(parts[0]), offset: offset, length: length)
    }

    var name: String { "\(segment)+\(String(offset, radix: 16))+\(String(length, radix: 16))" }

    /// All blocks of the body.
    var blocks: Range<Int64> { offset..<Self.blockEnd(offset + length) }

    /// The beginning of the next block, or `offset` if a block begins there.
    static func blockEnd(_ offset: Int64) -> Int64 { (offset + block - 1) / block * block }

    static func fileName(segment: String) -> String { segment + fileSuffix }

    /// The segment whose file has this name.
    static func segment(ofFile name: String) -> String? {
        name.hasSuffix(fileSuffix) ? String(name.dropLast(fileSuffix.count)) : nil
    }

    private static let fileSuffix = ".bodies"
}

/// Names of body files and of segments: `EPOCH-NUMBER`, hexadecimal. Each start of the store has its own epoch, so no
/// name is used twice.
enum BodyName {
    static func make(epoch: UInt64, number: UInt64) -> String {
        "\(String(epoch, radix: 16))-\(String(number, radix: 16))"
    }

    static func epoch(_ name: String) -> UInt64? {
        name.split(separator: "-").first.flatMap { UInt64($0, radix: 16) }
    }

    /// The names are created here, but callers pass them back.
    static func isValid(_ name: some StringProtocol) -> Bool {
        !name.isEmpty && name.utf8.allSatisfy { isHexadecimal($0) || $0 == UInt8(ascii: "-") }
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }
}
