/// A request's id: a UUID of version 7, so ids sort by their creation time (RFC 9562, method 3: the 12 bits after the
/// milliseconds contain the fraction of a millisecond).
package struct RequestID: Sendable, Hashable, Comparable, Codable, CustomStringConvertible {
    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Creates an id for a request that arrives `now`.
    package init(now: Timestamp, using generator: inout some RandomNumberGenerator) {
        self.init(now: now, random: generator.next())
    }

    /// Creates an id for a request that arrives `now`, with an unpredictable number.
    package init(now: Timestamp, random: UInt64) {
        let microseconds = UInt64(max(0, now.microseconds))
        let milliseconds = microseconds / 1000
        let fraction = microseconds % 1000 * 4096 / 1000
        self.high = milliseconds << 16 | 0x7000 | fraction
        self.low = 0x8000_0000_0000_0000 | random >> 2
    }

    /// Reads the canonical form, 36 characters with hyphens; letters in either case. `nil` for anything else.
    package init?(_ text: String) {
        var text = text
        guard let id = text.withUTF8({ Self.read($0) }) else { return nil }
        self = id
    }

    private static func read(_ text: UnsafeBufferPointer<UInt8>) -> RequestID? {
        guard text.count == 36 else { return nil }
        var digits: (UInt64, UInt64) = (0, 0)
        var count = 0
        for position in 0..<36 {
            let byte = text[position]
            if position == 8 || position == 13 || position == 18 || position == 23 {
                guard byte == UInt8(ascii: "-") else { return nil }
            } else {
                guard let value = value(ofDigit: byte) else { return nil }
                if count < 16 { digits.0 = digits.0 << 4 | value } else { digits.1 = digits.1 << 4 | value }
                count += 1
            }
        }
        return RequestID(high: digits.0, low: digits.1)
    }

    /// The 16 bytes, most significant first.
    package var bytes: [UInt8] {
        (0..<16).map { UInt8(truncatingIfNeeded: ($0 < 8 ? high : low) >> UInt64(56 - ($0 % 8) * 8)) }
    }

    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        for (index, byte) in bytes.enumerated() {
            if index < 8 { words.0 = words.0 << 8 | UInt64(byte) } else { words.1 = words.1 << 8 | UInt64(byte) }
        }
        self.high = words.0
        self.low = words.1
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let id = RequestID(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a request id")
        }
        self = id
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    package static func < (left: RequestID, right: RequestID) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }

    package var description: String {
        String(unsafeUninitializedCapacity: 36) { buffer in
            write(to: UnsafeMutableRawBufferPointer(buffer))
            return 36
        }
    }

    /// Appends the canonical form, 36 characters.
    package func append(to bytes: inout [UInt8]) {
        withUnsafeTemporaryAllocation(byteCount: 36, alignment: 1) { buffer in
            write(to: buffer)
            bytes.append(contentsOf: buffer)
        }
    }

    private func write(to buffer: UnsafeMutableRawBufferPointer) {
        var position = 0
        for nibble in 0..<32 {
            if nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20 {
                buffer[position] = UInt8(ascii: "-")
                position += 1
            }
            let value = ((nibble < 16 ? high : low) >> UInt64(60 - nibble % 16 * 4)) & 0xF
            buffer[position] = UInt8(truncatingIfNeeded: value < 10 ? 48 + value : 87 + value)
            position += 1
        }
    }

    private static func value(ofDigit byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - 48)
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - 87)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - 55)
        default: nil
        }
    }
}
