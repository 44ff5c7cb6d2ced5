/// The system call filter of a container (contract N3), generated from ``SystemCallTable`` in two forms: a BPF program
/// for bubblewrap and `seccomp(2)`, and a profile in the JSON form of Docker and Podman. It has no dependency, so that
/// `PodInit` can use it.
package enum SystemCallFilter {
    /// An instruction set that the filter is made for.
    package enum Architecture: Sendable, CaseIterable {
        case x86
        case arm64

        /// The architecture that this program was built for; `nil` for any other, on which no container is started.
        package static var current: Architecture? {
            #if arch(x86_64)
                .x86
            #elseif arch(arm64)
                .arm64
            #else
                nil
            #endif
        }

        /// `AUDIT_ARCH_…` of linux/audit.h.
        var auditValue: UInt32 {
            switch self {
            case .x86: 0xC000_003E
            case .arm64: 0xC000_00B7
            }
        }
    }

    /// A system call and its numbers.
    package struct Call: Sendable, Hashable {
        package var name: String
        package var x86: UInt32?
        package var arm64: UInt32?

        /// The call's number on that architecture; `nil` where it does not exist.
        package func number(_ architecture: Architecture) -> UInt32? {
            switch architecture {
            case .x86: x86
            case .arm64: arm64
            }
        }
    }

    /// One way for a call to be allowed: an argument, under a mask, has a value.
    ///
    /// Only the lower half of the argument is compared: the kernel itself reads no more of these.
    package struct Condition: Sendable {
        /// Which argument, from 0 on.
        package var argument: UInt32
        package var mask: UInt32
        package var value: UInt32
    }

    /// A call that is allowed when one of the conditions holds.
    package struct ConditionalCall: Sendable {
        package var call: Call
        package var alternatives: [Condition]

        /// A call whose first argument, under one of the masks, has the value that stands beside it.
        init(_ call: Call, first alternatives: [(mask: UInt32, value: UInt32)]) {
            self.call = call
            self.alternatives = alternatives.map { Condition(argument: 0, mask: $0.mask, value: $0.value) }
        }

        /// A call that may not give a file the set-user-ID or set-group-ID bit.
        ///
        /// - Parameters:
        ///   - mode: which argument has the file's mode.
        ///   - flags: which argument has flags of `open` without which the mode is not used.
        init(_ call: Call, mode: UInt32, flags: UInt32? = nil) {
            self.call = call
            // S_ISUID and S_ISGID; O_CREAT and __O_TMPFILE.
            alternatives =
                [Condition(argument: mode, mask: 0o6000, value: 0)]
                + (flags.map { [Condition(argument: $0, mask: 0o20_000_100, value: 0)] } ?? [])
        }
    }

    package static let allowed = calls(SystemCallTable.allowed)
    package static let refused = calls(SystemCallTable.refused)

    package static let conditional: [ConditionalCall] = [
        // No flag that makes a namespace (CLONE_NEW…).
        ConditionalCall(Call(name: "clone", x86: 56, arm64: 220), first: [(0x7E02_0000, 0)]),
        // Linux, the 32-bit personality and `uname` of version 2.6, in any combination, and the question for the
        // present one.
        ConditionalCall(
            Call(name: "personality", x86: 135, arm64: 92),
            first: [0, 8, 0x2_0000, 0x2_0008, .max].map { (.max, $0) }),
        // Every family but AF_ALG (38) and AF_VSOCK (40), which belong to no network namespace.
        ConditionalCall(
            Call(name: "socket", x86: 41, arm64: 198),
            first: [
                (0xFFFF_FFE0, 0), (0xFFFF_FFFC, 32), (0xFFFF_FFFE, 36), (.max, 39), (.max, 41), (0xFFFF_FFFE, 42),
                (0xFFFF_FFFC, 44),
            ]),
        // A program with such a bit in a volume would run as the container's user for every user of the host. `mkdir`
        // ignores the bits.
        ConditionalCall(Call(name: "open", x86: 2, arm64: nil), mode: 2, flags: 1),
        ConditionalCall(Call(name: "openat", x86: 257, arm64: 56), mode: 3, flags: 2),
        ConditionalCall(Call(name: "creat", x86: 85, arm64: nil), mode: 1),
        ConditionalCall(Call(name: "chmod", x86: 90, arm64: nil), mode: 1),
        ConditionalCall(Call(name: "fchmod", x86: 91, arm64: 52), mode: 1),
        ConditionalCall(Call(name: "fchmodat", x86: 268, arm64: 53), mode: 2),
        ConditionalCall(Call(name: "fchmodat2", x86: 452, arm64: 452), mode: 2),
        ConditionalCall(Call(name: "mknod", x86: 133, arm64: nil), mode: 1),
        ConditionalCall(Call(name: "mknodat", x86: 259, arm64: 33), mode: 2),
    ]

    /// Answered with ENOSYS, as by a kernel without them: their flags and modes lie in memory, where a filter cannot
    /// read them. Every libc falls back to `clone` and `openat`.
    package static let missing = [
        Call(name: "clone3", x86: 435, arm64: 435), Call(name: "openat2", x86: 437, arm64: 437),
    ]

    /// Numbers from here on belong to calls that this table does not know.
    package static let firstUnknown: UInt32 = 470

    /// `name number number;` entries.
    private static func calls(_ text: String) -> [Call] {
        text.split { $0 == ";" || $0 == "\n" }.compactMap { entry in
            let words = entry.split(separator: " ")
            guard words.count == 3 else { return nil }
            return Call(name: String(words[0]), x86: UInt32(words[1]), arm64: UInt32(words[2]))
        }
    }

    // MARK: BPF

    private static let permitted: UInt32 = 0x7FFF_0000
    private static let killed: UInt32 = 0x8000_0000
    private static let notPermitted: UInt32 = 0x0005_0000 | 1
    private static let noSuchCall: UInt32 = 0x0005_0000 | 38

    /// One instruction of classic BPF.
    private struct Instruction {
        var code: UInt16
        var ifTrue: UInt8 = 0
        var ifFalse: UInt8 = 0
        var value: UInt32

        static func load(_ offset: UInt32) -> Instruction { Instruction(code: 0x20, value: offset) }
        static func and(_ mask: UInt32) -> Instruction { Instruction(code: 0x54, value: mask) }
        static func answer(_ action: UInt32) -> Instruction { Instruction(code: 0x06, value: action) }
        /// Goes on with the next instruction, or skips some, by comparing with `value`.
        static func equal(_ value: UInt32, ifTrue: UInt8 = 0, ifFalse: UInt8 = 0) -> Instruction {
            Instruction(code: 0x15, ifTrue: ifTrue, ifFalse: ifFalse, value: value)
        }
        static func atLeast(_ value: UInt32, ifTrue: UInt8 = 0, ifFalse: UInt8 = 0) -> Instruction {
            Instruction(code: 0x35, ifTrue: ifTrue, ifFalse: ifFalse, value: value)
        }
    }

    /// The program as the kernel takes it: an array of `struct sock_filter` in this machine's byte order.
    ///
    /// A call through another entry point of the processor (32-bit code) kills the process; x32 numbers fail with
    /// ENOSYS.
    package static func program(for architecture: Architecture) -> [UInt8] {
        // struct seccomp_data: nr at 0, arch at 4, the arguments from 16 on, the lower half first (both architectures
        // are little-endian).
        var program: [Instruction] = [
            .load(4), .equal(architecture.auditValue, ifTrue: 1), .answer(killed),
            .load(0), .atLeast(firstUnknown, ifFalse: 1), .answer(noSuchCall),
        ]
        for call in missing {
            guard let number = call.number(architecture) else { continue }
            program += [.equal(number, ifFalse: 1), .answer(noSuchCall)]
        }
        for entry in conditional {
            guard let number = entry.call.number(architecture) else { continue }
            var body: [Instruction] = []
            for condition in entry.alternatives {
                body += [
                    .load(16 + 8 * condition.argument), .and(condition.mask), .equal(condition.value, ifFalse: 1),
                    .answer(permitted),
                ]
            }
            body.append(.answer(notPermitted))
            program.append(.equal(number, ifFalse: UInt8(body.count)))
            program += body
        }
        // The ranges rise: a number below one is in none, a number above it may be in the next.
        for range in ranges(allowed.compactMap { $0.number(architecture) }) {
            program += [
                .atLeast(range.lowerBound, ifFalse: 2), .atLeast(range.upperBound + 1, ifTrue: 2),
                .answer(permitted), .answer(notPermitted),
            ]
        }
        program.append(.answer(notPermitted))
        return program.flatMap { instruction in
            withUnsafeBytes(of: instruction.code) { Array($0) } + [instruction.ifTrue, instruction.ifFalse]
                + withUnsafeBytes(of: instruction.value) { Array($0) }
        }
    }

    /// Sorted numbers, merged where they follow each other.
    private static func ranges(_ numbers: [UInt32]) -> [ClosedRange<UInt32>] {
        var ranges: [ClosedRange<UInt32>] = []
        for number in numbers.sorted() {
            if let last = ranges.last, number <= last.upperBound + 1 {
                ranges[ranges.count - 1] = last.lowerBound...number
            } else {
                ranges.append(number...number)
            }
        }
        return ranges
    }

    // MARK: Docker and Podman

    /// The same policy as a profile for `SecurityOpt: ["seccomp=…"]` of Docker, or a file for Podman. It is for 64-bit
    /// programs.
    package static func profile(for architecture: Architecture) -> String {
        func names(_ calls: [Call]) -> String {
            calls.filter { $0.number(architecture) != nil }.map { "\"\($0.name)\"" }.joined(separator: ",")
        }
        var rules = [#"{"names":[\#(names(allowed))],"action":"SCMP_ACT_ALLOW"}"#]
        for entry in conditional where entry.call.number(architecture) != nil {
            for condition in entry.alternatives {
                // Rules for the same name are alternatives; the conditions of one rule would all have to hold.
                let text =
                    #"{"index":\#(condition.argument),"value":\#(condition.mask),"valueTwo":\#(condition.value),"#
                    + #""op":"SCMP_CMP_MASKED_EQ"}"#
                rules.append(#"{"names":["\#(entry.call.name)"],"action":"SCMP_ACT_ALLOW","args":[\#(text)]}"#)
            }
        }
        rules.append(#"{"names":[\#(names(missing))],"action":"SCMP_ACT_ERRNO","errnoRet":38}"#)
        let name = architecture == .x86 ? "SCMP_ARCH_X86_64" : "SCMP_ARCH_AARCH64"
        return #"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"architectures":["\#(name)"],"syscalls":["#
            + rules.joined(separator: ",") + "]}"
    }
}
