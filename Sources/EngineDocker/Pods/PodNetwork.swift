import Core
import Foundation

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// What pods on a container engine reach besides the platform and the networks outside this machine (`--pod-network`).
package struct PodNetworkRules: Sendable, Hashable {
    /// The addresses of this machine.
    package var reachesHost = false
    /// Link-local addresses, among them those of metadata services.
    package var reachesLinkLocal = false
    /// Nothing but the platform, and what `allowed` names.
    package var isClosed = false
    /// Blocks of addresses (`10.0.0.0/8`, `fd00::/8`) that stay reachable whatever else is not.
    package var allowed: [String] = []

    package init() {}

    /// Reads the values of `--pod-network`: `host`, `link-local`, `none`, or blocks of addresses.
    ///
    /// - Throws: `usage` that names the first value that is none of these.
    package init(_ words: [String]) throws {
        for word in words {
            switch word {
            case "host": reachesHost = true
            case "link-local": reachesLinkLocal = true
            case "none": isClosed = true
            default:
                let block = word.contains("/") ? word : word + (word.contains(":") ? "/128" : "/32")
                guard Self.isBlock(block) else {
                    throw PlatformError(
                        .usage,
                        "\"\(word)\" is not a network; --pod-network takes host, link-local, none, or a block of addresses such as 10.0.0.0/8"
                    )
                }
                allowed.append(block)
            }
        }
        guard !(isClosed && (reachesHost || reachesLinkLocal)) else {
            throw PlatformError(
                .usage, "--pod-network none excludes host and link-local; name blocks of addresses beside it instead")
        }
    }

    /// The destinations that `PodInit` keeps reachable, and those it makes unreachable. The first list wins.
    ///
    /// - Parameters:
    ///   - host: the addresses of this machine.
    ///   - networks: the blocks of all networks of the engine: other pods, and containers of others.
    func blocks(host: [String], networks: [String]) -> (allowed: [String], blocked: [String]) {
        let addresses = host.map { $0 + ($0.contains(":") ? "/128" : "/32") }
        guard !isClosed else { return (allowed, ["0.0.0.0/0", "::/0"]) }
        var blocked = networks.filter(Self.isBlock) + Self.multicast
        if !reachesHost { blocked += addresses }
        if !reachesLinkLocal { blocked += Self.linkLocal }
        return (allowed + (reachesHost ? addresses : []), blocked)
    }

    /// Link-local blocks, and metadata services that lie outside them.
    private static let linkLocal = ["169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32"]
    /// What reaches many at once reaches other pods and this machine too.
    private static let multicast = ["224.0.0.0/4", "255.255.255.255/32", "ff00::/8"]

    private static func isBlock(_ text: String) -> Bool {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, let prefix = Int(halves[1]), prefix >= 0 else { return false }
        let isIPv6 = halves[0].contains(":")
        var address = in6_addr()
        return prefix <= (isIPv6 ? 128 : 32) && inet_pton(isIPv6 ? AF_INET6 : AF_INET, String(halves[0]), &address) == 1
    }

    /// The addresses of this machine but for the loopback and link-local ones.
    static func hostAddresses() -> [String] {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&first) == 0 else { return [] }
        defer { freeifaddrs(first) }
        var found: Set<String> = []
        var next = first
        while let current = next {
            next = current.pointee.ifa_next
            guard let address = current.pointee.ifa_addr else { continue }
            let family = CInt(address.pointee.sa_family)
            guard family == AF_INET || family == AF_INET6 else { continue }
            let length = family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
            var name = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            guard
                getnameinfo(address, socklen_t(length), &name, socklen_t(name.count), nil, 0, NI_NUMERICHOST) == 0
            else { continue }
            let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            // `fe80::1%eth0`
            guard !text.contains("%"), !text.hasPrefix("127."), text != "::1", !text.hasPrefix("169.254.") else {
                continue
            }
            found.insert(text)
        }
        return found.sorted()
    }
}

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
