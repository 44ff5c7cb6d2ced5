import Foundation
import SystemCallFilter
import Testing

@Suite("The system call filter follows its table")
struct SystemCallFilterTests {
    static let architectures = SystemCallFilter.Architecture.allCases

    /// What a program answers: an interpreter of the few instructions that it uses.
    private func answer(
        _ program: [UInt8], _ number: UInt32, argument: UInt64 = 0, architecture: UInt32
    ) throws -> UInt32 {
        try answer(program, number, arguments: [argument], architecture: architecture)
    }

    private func answer(
        _ program: [UInt8], _ number: UInt32, arguments: [UInt64], architecture: UInt32
    ) throws -> UInt32 {
        func word(_ offset: Int) -> UInt32 {
            (0..<4).reduce(UInt32(0)) { $0 | UInt32(program[offset + $1]) << UInt32(8 * $1) }
        }
        var data: [UInt32: UInt32] = [0: number, 4: architecture]
        for (index, argument) in arguments.enumerated() {
            data[16 + 8 * UInt32(index)] = UInt32(truncatingIfNeeded: argument)
            data[20 + 8 * UInt32(index)] = UInt32(truncatingIfNeeded: argument >> 32)
        }
        var register: UInt32 = 0
        var index = 0
        while index < program.count / 8 {
            let code = UInt16(program[8 * index]) | UInt16(program[8 * index + 1]) << 8
            let (ifTrue, ifFalse) = (Int(program[8 * index + 2]), Int(program[8 * index + 3]))
            let value = word(8 * index + 4)
            index += 1
            switch code {
            case 0x20: register = try #require(data[value])
            case 0x54: register &= value
            case 0x15: index += register == value ? ifTrue : ifFalse
            case 0x35: index += register >= value ? ifTrue : ifFalse
            case 0x06: return value
            default: Issue.record("unknown instruction \(code)")
            }
        }
        Issue.record("the program has no end")
        return 0
    }

    private static let permitted: UInt32 = 0x7FFF_0000
    private static let notPermitted: UInt32 = 0x5_0001
    private static let noSuchCall: UInt32 = 0x5_0026
    private static let killed: UInt32 = 0x8000_0000
    private static let audit: [SystemCallFilter.Architecture: UInt32] = [.x86: 0xC000_003E, .arm64: 0xC000_00B7]

    @Test("N3: every number below 0x800 gets the answer of its list", arguments: architectures)
    func table(_ architecture: SystemCallFilter.Architecture) throws {
        let program = SystemCallFilter.program(for: architecture)
        #expect(program.count % 8 == 0 && program.count / 8 <= 4096)
        let audit = try #require(Self.audit[architecture])
        let allowed = Set(SystemCallFilter.allowed.compactMap { $0.number(architecture) })
        let refused = Set(SystemCallFilter.refused.compactMap { $0.number(architecture) })
        #expect(allowed.isDisjoint(with: refused) && allowed.count > 250)
        let special = Set(
            (SystemCallFilter.conditional.map(\.call) + SystemCallFilter.missing).compactMap { $0.number(architecture) }
        )
        for number in UInt32(0)..<0x800 where !special.contains(number) {
            let expected =
                number >= SystemCallFilter.firstUnknown
                ? Self.noSuchCall : allowed.contains(number) ? Self.permitted : Self.notPermitted
            #expect(try answer(program, number, architecture: audit) == expected, "\(number)")
        }
        for number in SystemCallFilter.missing.compactMap({ $0.number(architecture) }) {
            #expect(try answer(program, number, architecture: audit) == Self.noSuchCall)
        }
        #expect(SystemCallFilter.missing.map(\.name) == ["clone3", "openat2"])
    }

    @Test("N3: no call can give a file the set-user-ID or set-group-ID bit", arguments: architectures)
    func setUserID(_ architecture: SystemCallFilter.Architecture) throws {
        let program = SystemCallFilter.program(for: architecture)
        let audit = try #require(Self.audit[architecture])
        func answer(_ name: String, _ arguments: [UInt64]) throws -> UInt32? {
            let call = try #require(SystemCallFilter.conditional.first { $0.call.name == name }?.call)
            guard let number = call.number(architecture) else { return nil }
            return try self.answer(program, number, arguments: arguments, architecture: audit)
        }
        // What stands before the mode, and where the arguments end; all bits set where they have no meaning.
        let calls: [(name: String, before: [UInt64])] = [
            ("chmod", [.max]), ("fchmod", [.max]), ("fchmodat", [.max, .max]), ("fchmodat2", [.max, .max]),
            ("creat", [.max]), ("mknod", [.max]), ("mknodat", [.max, .max]),
        ]
        for (name, before) in calls {
            for mode: UInt64 in [0, 0o644, 0o1777, 0o100_755] {
                #expect([nil, Self.permitted].contains(try answer(name, before + [mode])), "\(name) \(mode)")
            }
            for mode: UInt64 in [0o4000, 0o2000, 0o4755, 0o2755, 0o6777, 0o104_755, 0o4755 | 7 << 32] {
                #expect([nil, Self.notPermitted].contains(try answer(name, before + [mode])), "\(name) \(mode)")
            }
        }
        let (create, temporary) = (0o100 as UInt64, 0o20_200_000 as UInt64)
        for (name, before) in [("open", [.max]), ("openat", [.max, .max])] as [(String, [UInt64])] {
            // Without a file to make the mode has no meaning, and may be whatever the register holds.
            for flags: UInt64 in [0, 0o2, 0o200_000, 0o2_000_000] {
                #expect([nil, Self.permitted].contains(try answer(name, before + [flags, .max])), "\(name) \(flags)")
            }
            for flags in [create, create | 0o302, temporary, temporary | 0o2, .max] {
                #expect(
                    [nil, Self.permitted].contains(try answer(name, before + [flags, 0o1777])), "\(name) \(flags)")
                for mode: UInt64 in [0o4755, 0o2755, 0o4000, .max] {
                    #expect(
                        [nil, Self.notPermitted].contains(try answer(name, before + [flags, mode])), "\(name) \(mode)")
                }
            }
        }
        #expect(try answer("openat", [0, 0, create, 0o4755]) != nil && answer("fchmodat", [0, 0, 0o4755]) != nil)
    }

    @Test("N3: 32-bit code is killed, x32 numbers do not exist", arguments: architectures)
    func entryPoints(_ architecture: SystemCallFilter.Architecture) throws {
        let program = SystemCallFilter.program(for: architecture)
        let audit = try #require(Self.audit[architecture])
        // AUDIT_ARCH_I386 and AUDIT_ARCH_ARM.
        for foreign in [0x4000_0003, 0x4000_0028] as [UInt32] {
            #expect(try answer(program, 0, architecture: foreign) == Self.killed)
        }
        #expect(try answer(program, 0x4000_0000, architecture: audit) == Self.noSuchCall)
        #expect(try answer(program, .max, architecture: audit) == Self.noSuchCall)
    }

    @Test("N3: clone, socket and personality depend on their first argument", arguments: architectures)
    func arguments(_ architecture: SystemCallFilter.Architecture) throws {
        let program = SystemCallFilter.program(for: architecture)
        let audit = try #require(Self.audit[architecture])
        func number(_ name: String) throws -> UInt32 {
            try #require(
                SystemCallFilter.conditional.first { $0.call.name == name }?.call.number(architecture))
        }
        for family in UInt64(0)...47 {
            let expected = family == 38 || family == 40 ? Self.notPermitted : Self.permitted
            #expect(try answer(program, number("socket"), argument: family, architecture: audit) == expected)
        }
        // The kernel ignores the upper half; so must the filter.
        #expect(
            try answer(program, number("socket"), argument: 1 << 32 | 40, architecture: audit) == Self.notPermitted)
        let threads: UInt64 = 0x3D_0F00
        #expect(try answer(program, number("clone"), argument: threads, architecture: audit) == Self.permitted)
        for flag in [7, 17, 25, 26, 27, 28, 29, 30] as [UInt64] {
            // Bit 7 is CLONE_NEWTIME, which only clone3 and unshare know; clone reads these bits as a signal.
            let expected = flag == 7 ? Self.permitted : Self.notPermitted
            #expect(
                try answer(program, number("clone"), argument: 1 << flag | 17, architecture: audit) == expected)
        }
        for (value, isAllowed) in [(0, true), (8, true), (0x4_0000, false), (0xFFFF_FFFF, true)] as [(UInt64, Bool)] {
            let expected = isAllowed ? Self.permitted : Self.notPermitted
            #expect(try answer(program, number("personality"), argument: value, architecture: audit) == expected)
        }
    }

    @Test("N3: what the contract names is refused on both architectures")
    func refused() {
        let names = Set(SystemCallFilter.refused.map(\.name))
        #expect(
            names.isSuperset(of: [
                "keyctl", "add_key", "request_key", "io_uring_setup", "io_uring_enter", "io_uring_register",
                "userfaultfd", "bpf", "perf_event_open", "kcmp", "open_by_handle_at", "mount", "umount2", "move_mount",
                "open_tree", "fsopen", "mount_setattr", "pivot_root", "chroot", "unshare", "setns", "pidfd_getfd",
                "init_module", "finit_module", "kexec_load", "syslog", "reboot",
            ]))
    }

    @Test("N3: the profile for Docker and Podman says the same", arguments: architectures)
    func profile(_ architecture: SystemCallFilter.Architecture) throws {
        struct Profile: Decodable {
            struct Rule: Decodable {
                var names: [String]
                var action: String
                var args: [[String: Value]]?
            }
            enum Value: Decodable {
                case number(UInt64)
                case text(String)
                init(from decoder: any Decoder) throws {
                    let container = try decoder.singleValueContainer()
                    if let number = try? container.decode(UInt64.self) {
                        self = .number(number)
                    } else {
                        self = .text(try container.decode(String.self))
                    }
                }
            }
            var defaultAction: String
            var syscalls: [Rule]
        }
        let text = SystemCallFilter.profile(for: architecture)
        let profile = try JSONDecoder().decode(Profile.self, from: Data(text.utf8))
        #expect(profile.defaultAction == "SCMP_ACT_ERRNO")
        let allowed = profile.syscalls.filter { $0.action == "SCMP_ACT_ALLOW" && $0.args == nil }.flatMap(\.names)
        #expect(
            Set(allowed) == Set(SystemCallFilter.allowed.filter { $0.number(architecture) != nil }.map(\.name)))
        #expect(profile.syscalls.count { $0.names == ["socket"] } == 7)
        #expect(profile.syscalls.contains { $0.names == ["clone3", "openat2"] && $0.action == "SCMP_ACT_ERRNO" })
        let conditional = Set(profile.syscalls.filter { $0.args != nil }.flatMap(\.names))
        #expect(
            conditional
                == Set(SystemCallFilter.conditional.map(\.call).filter { $0.number(architecture) != nil }.map(\.name)))
        #expect(profile.syscalls.count { $0.names == ["openat"] } == 2)
    }
}
