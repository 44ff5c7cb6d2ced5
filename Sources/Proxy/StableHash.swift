/// A hash of 64 bits that is the same in every process, on every machine and in every version of the platform: sticky
/// requests keep their replica and their target when the platform restarts (contract R22, X4).
///
/// It does not withstand callers who choose keys that collide. Those only share a replica.
enum StableHash {
    /// FNV-1a, mixed so that every bit of the result depends on every byte.
    static func of(_ bytes: some Sequence<UInt8>) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes {
            hash ^= UInt64(byte)
            hash = hash &* 0x0000_0100_0000_01B3
        }
        return mix(hash)
    }

    static func of(_ text: String) -> UInt64 { of(text.utf8) }

    /// The score of one of several candidates for a key (rendezvous hashing): the key belongs to the candidate with the
    /// largest score, so a candidate that joins or leaves moves only its own keys.
    ///
    /// - Parameter candidate: the hash of its name.
    static func score(key: UInt64, candidate: UInt64) -> UInt64 { mix(key ^ candidate) }

    /// The finalizer of SplitMix64: one to one, each bit of the input changes half of the output's bits.
    static func mix(_ value: UInt64) -> UInt64 {
        var mixed = value &+ 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Random numbers for the choice of targets: a few nanoseconds each, where the system's generator needs a system call.
/// Not for secrets.
struct FastGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return StableHash.mix(state)
    }
}
