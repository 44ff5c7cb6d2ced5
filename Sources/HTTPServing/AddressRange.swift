import NIOCore

/// An IP address, or all addresses with the same first bits (`10.0.0.0/8`).
package struct AddressRange: Sendable, Hashable {
    /// The address; version 4 in the last 32 bits.
    let high: UInt64
    let low: UInt64
    let isVersion4: Bool
    /// How many of its bits count.
    private let length: Int

    static let loopback = ["127.0.0.0/8", "::1"].compactMap { AddressRange($0) }

    /// `nil` for what is neither an IP address nor a range in CIDR notation.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = try? SocketAddress(ipAddress: String(first), port: 0),
            let whole = AddressRange(address)
        else { return nil }
        guard parts.count == 2 else {
            self = whole
            return
        }
        guard parts[1].utf8.allSatisfy({ (48...57).contains($0) }), let length = Int(parts[1]),
            (0...whole.length).contains(length)
        else { return nil }
        self.init(high: whole.high, low: whole.low, isVersion4: whole.isVersion4, length: length)
    }

    /// An address of version 6 that stands for one of version 4 counts as that one.
    init?(_ address: SocketAddress) {
        switch address {
        case .v4(let address):
            // Behind family and port in `sockaddr_in`.
            let value = withUnsafeBytes(of: address.address) {
                UInt32(bigEndian: $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
            }
            self.init(high: 0, low: UInt64(value), isVersion4: true, length: 32)
        case .v6(let address):
            // Behind family, port and flow in `sockaddr_in6`.
            let (high, low) = withUnsafeBytes(of: address.address) { bytes in
                (
                    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
                )
            }
            if high == 0, low >> 32 == 0xFFFF {
                self.init(high: 0, low: low & 0xFFFF_FFFF, isVersion4: true, length: 32)
            } else {
                self.init(high: high, low: low, isVersion4: false, length: 128)
            }
        case .unixDomainSocket:
            return nil
        }
    }

    private init(high: UInt64, low: UInt64, isVersion4: Bool, length: Int) {
        self.high = high
        self.low = low
        self.isVersion4 = isVersion4
        self.length = length
    }

    /// Whether an address is in the range.
    func contains(_ address: AddressRange) -> Bool {
        guard isVersion4 == address.isVersion4 else { return false }
        if isVersion4 { return length == 0 || (low ^ address.low) >> UInt64(32 - length) == 0 }
        let highLength = min(64, length)
        guard highLength == 0 || (high ^ address.high) >> UInt64(64 - highLength) == 0 else { return false }
        let lowLength = length - 64
        return lowLength <= 0 || (low ^ address.low) >> UInt64(64 - lowLength) == 0
    }
}
