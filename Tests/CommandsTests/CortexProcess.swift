import Foundation

/// The built `cortex` as a process, the way a user runs it.
struct CortexProcess {
    var status: Int32
    var output: String
    var errors: String

    enum Failure: Error {
        case noBinary(String)
        case noTerminal
    }

    /// Beside the test bundle, else where a debug build puts it.
    static let binary: String = {
        let beside = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().path + "/cortex"
        if FileManager.default.isExecutableFile(atPath: beside) { return beside }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return root.path + "/.build/debug/cortex"
    }()

    /// Runs it to its end, on threads of its own.
    static func run(
        _ arguments: [String], folder: URL, environment: [String: String] = [:], input: String? = nil
    ) async throws -> CortexProcess {
        guard FileManager.default.isExecutableFile(atPath: binary) else { throw Failure.noBinary(binary) }
        return try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(
                    with: Result {
                        try runBlocking(arguments, folder: folder, environment: environment, input: input)
                    })
            }
        }
    }

    private static func runBlocking(
        _ arguments: [String], folder: URL, environment: [String: String], input: String?
    ) throws -> CortexProcess {
        let process = prepared(arguments, folder: folder, environment: environment)
        // Files instead of pipes: neither side can fill up.
        let names = ["out", "err", "in"].map {
            folder.appendingPathComponent(".\($0)-\(UInt32.random(in: 0 ... .max))")
        }
        for name in names { try Data((input ?? "").utf8).write(to: name) }
        for name in names.prefix(2) { try Data().write(to: name) }
        let handles = try (
            FileHandle(forWritingTo: names[0]), FileHandle(forWritingTo: names[1]), FileHandle(forReadingFrom: names[2])
        )
        process.standardOutput = handles.0
        process.standardError = handles.1
        process.standardInput = input == nil ? FileHandle.nullDevice : handles.2
        try process.run()
        process.waitUntilExit()
        defer { for name in names { try? FileManager.default.removeItem(at: name) } }
        return CortexProcess(
            status: process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus,
            output: String(decoding: try Data(contentsOf: names[0]), as: UTF8.self),
            errors: String(decoding: try Data(contentsOf: names[1]), as: UTF8.self))
    }

    static func prepared(_ arguments: [String], folder: URL, environment: [String: String]) -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: binary)
        process.arguments = arguments
        process.currentDirectoryURL = folder
        var variables = ["HOME": folder.path, "CORTEX_CLI_CONFIG_DIR": folder.path, "PATH": "/usr/bin:/bin"]
        variables.merge(environment) { $1 }
        process.environment = variables
        return process
    }

    /// Runs it on a pseudo terminal until what it wrote contains `text`, then interrupts it.
    ///
    /// - Returns: what it wrote.
    static func onTerminal(_ arguments: [String], folder: URL, until text: String) async throws -> String {
        // What grantpt and ptsname do on Linux; Swift does not see those (TIOCSPTLCK, TIOCGPTN).
        let leader = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        var (lock, number): (CInt, CUnsignedInt) = (0, 0)
        guard leader >= 0, ioctl(leader, 0x4004_5431, &lock) == 0, ioctl(leader, 0x8004_5430, &number) == 0 else {
            throw Failure.noTerminal
        }
        let follower = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
        guard follower >= 0 else { throw Failure.noTerminal }
        var size = winsize(ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0)
        _ = ioctl(follower, UInt(TIOCSWINSZ), &size)
        let process = prepared(arguments, folder: folder, environment: ["TERM": "xterm"])
        let terminal = FileHandle(fileDescriptor: follower, closeOnDealloc: true)
        process.standardOutput = terminal
        process.standardError = terminal
        process.standardInput = FileHandle.nullDevice
        try process.run()
        return await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                var seen: [UInt8] = []
                var chunk = [UInt8](repeating: 0, count: 4096)
                var waiting = pollfd(fd: leader, events: Int16(POLLIN), revents: 0)
                while poll(&waiting, 1, 20_000) > 0 {
                    let count = read(leader, &chunk, chunk.count)
                    guard count > 0 else { break }
                    seen += chunk.prefix(count)
                    if String(decoding: seen, as: UTF8.self).contains(text) { break }
                }
                process.interrupt()
                process.waitUntilExit()
                close(leader)
                continuation.resume(returning: String(decoding: seen, as: UTF8.self))
            }
        }
    }
}
