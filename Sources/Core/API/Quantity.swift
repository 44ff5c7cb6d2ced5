/// A Kubernetes quantity: a decimal number with a suffix (`n u m`, `k M G T P E`, `Ki Mi Gi Ti Pi Ei`) or an exponent,
/// kept in the user's spelling.
///
/// Source: Kubernetes API, resource.Quantity.
package struct Quantity: Sendable, Hashable, Codable, CustomStringConvertible {
    /// As written.
    package let text: String
    /// The value in thousandths, rounded up.
    package let milli: Int64

    /// `nil` if `text` is not a quantity, is negative, or does not fit.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        var position = 0
        var digits: [UInt8] = []
        var fraction = 0
        var seenPoint = false
        if position < bytes.count, bytes[position] == UInt8(ascii: "+") { position += 1 }
        while position < bytes.count {
            let byte = bytes[position]
            if byte >= 48, byte <= 57 {
                digits.append(byte - 48)
                if seenPoint { fraction += 1 }
            } else if byte == UInt8(ascii: "."), !seenPoint {
                seenPoint = true
            } else {
                break
            }
            position += 1
        }
        guard !digits.isEmpty, let scale = Self.scale(of: String(decoding: bytes[position...], as: UTF8.self)) else {
            return nil
        }
        // value in thousandths = digits * 1000 * multiplier / 10^(fraction + divisor exponent)
        var value: Int64 = 0
        for digit in digits {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflow2) = product.addingReportingOverflow(Int64(digit))
            guard !overflow, !overflow2 else { return nil }
            value = sum
        }
        var (scaled, overflow) = (value, false)
        var exponent = scale.exponent - fraction + 3
        (scaled, overflow) = scaled.multipliedReportingOverflow(by: scale.multiplier)
        guard !overflow else { return nil }
        while exponent > 0 {
            (scaled, overflow) = scaled.multipliedReportingOverflow(by: 10)
            guard !overflow else { return nil }
            exponent -= 1
        }
        while exponent < 0 {
            scaled = (scaled + 9) / 10
            exponent += 1
        }
        self.text = text
        self.milli = scaled
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let quantity = Quantity(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a quantity")
        }
        self = quantity
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }

    /// The value rounded up to a whole number: bytes, or cores.
    package var whole: Int64 { milli / 1000 + (milli % 1000 == 0 ? 0 : 1) }

    package var description: String { text }

    private static func scale(of suffix: String) -> (multiplier: Int64, exponent: Int)? {
        switch suffix {
        case "": return (1, 0)
        case "n": return (1, -9)
        case "u": return (1, -6)
        case "m": return (1, -3)
        case "k": return (1, 3)
        case "M": return (1, 6)
        case "G": return (1, 9)
        case "T": return (1, 12)
        case "P": return (1, 15)
        case "E": return (1, 18)
        case "Ki": return (1 << 10, 0)
        case "Mi": return (1 << 20, 0)
        case "Gi": return (1 << 30, 0)
        case "Ti": return (1 << 40, 0)
        case "Pi": return (1 << 50, 0)
        default:
            guard suffix.first == "e" || suffix.first == "E", let exponent = Int(suffix.dropFirst()),
                abs(exponent) <= 18
            else { return nil }
            return (1, exponent)
        }
    }
}
