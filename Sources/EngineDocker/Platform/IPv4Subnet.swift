/// A block of IPv4 addresses.
package struct IPv4Subnet: Sendable, Hashable, CustomStringConvertible {
    /// The first address.
    package let base: UInt32
    /// Bits that all its addresses have in common.
    package let prefix: Int

    /// Bits of `base` past the prefix are dropped.
    package init(base: UInt32, prefix: Int) {
        self.prefix = min(max(prefix, 0), 32)
        self.base = base & Self.mask(self.prefix)
    }

    /// `a.b.c.d/n`, else `nil`.
    package init?(_ text: String) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, let prefix = Int(halves[1]), (0...32).contains(prefix) else { return nil }
        let parts = halves[0].split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var base: UInt32 = 0
        for part in parts {
            guard let byte = UInt8(part) else { return nil }
            base = base << 8 | UInt32(byte)
        }
        self.init(base: base, prefix: prefix)
    }

    package var description: String { "\(address(0))/\(prefix)" }

    /// The `index`-th address.
    package func address(_ index: UInt32) -> String {
        let value = base &+ index
        return "\(value >> 24).\(value >> 16 & 255).\(value >> 8 & 255).\(value & 255)"
    }

    /// The last address that an interface can have.
    package var lastHost: String { address((prefix == 0 ? .max : (1 << UInt32(32 - prefix)) - 1) - 1) }

    package var upperHalf: IPv4Subnet {
        guard prefix < 32 else { return self }
        return IPv4Subnet(base: base | 1 << UInt32(31 - prefix), prefix: prefix + 1)
    }

    /// Whether the two have an address in common.
    package func overlaps(_ other: IPv4Subnet) -> Bool {
        let mask = Self.mask(min(prefix, other.prefix))
        return base & mask == other.base & mask
    }

    private static func mask(_ prefix: Int) -> UInt32 {
        prefix == 0 ? 0 : UInt32.max << UInt32(32 - prefix)
    }

    /// A private block of 4096 addresses that touches nothing in `taken`.
    ///
    /// The search begins at a place that depends on `seed`: two platforms that don't see each other's networks rarely
    /// choose the same.
    package static func free(besides taken: [IPv4Subnet], seed: UInt32) -> IPv4Subnet? {
        // 10.128.0.0 … 10.255.240.0, away from where most networks begin to count.
        let blocks: UInt32 = 2048
        for step in 0..<blocks {
            let index = (seed % blocks + step) % blocks
            let candidate = IPv4Subnet(base: 10 << 24 | 128 << 16 | index << 12, prefix: 20)
            if !taken.contains(where: { $0.overlaps(candidate) }) { return candidate }
        }
        return nil
    }

    /// The networks in the kernel's table (`/proc/net/route`): numbers there are hexadecimal in the machine's byte
    /// order.
    static func routes(in table: String) -> [IPv4Subnet] {
        table.split(separator: "\n").dropFirst().compactMap { line in
            let fields = line.split(whereSeparator: { $0 == "\t" || $0 == " " })
            guard fields.count > 7, let destination = UInt32(fields[1], radix: 16),
                let mask = UInt32(fields[7], radix: 16), mask != 0
            else { return nil }
            let prefix = UInt32(bigEndian: mask).nonzeroBitCount
            return IPv4Subnet(base: UInt32(bigEndian: destination), prefix: prefix)
        }
    }
}
