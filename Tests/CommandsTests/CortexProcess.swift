import Foundation
import TestSupport

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

    /// Runs it to its end.
    static func run(
        _ arguments: [String], folder: URL, environment: [String: String] = [:], input: String? = nil
    ) async throws -> CortexProcess {
        guard FileManager.default.isExecutableFile(atPath: binary) else { throw Failure.noBinary(binary) }
        let result = try await ChildProcess.run(
            binary, arguments, environment: variables(folder, environment), directory: folder.path, input: input)
        return CortexProcess(status: result.status, output: result.output, errors: result.errors)
    }

    private static func variables(_ folder: URL, _ more: [String: String]) -> [String: String] {
        [
            "HOME": folder.path, "CORTEX_CLI_CONFIG_DIR": folder.path, "PATH": "/usr/bin:/bin",
            "CORTEX_COMPLETION_TIMEOUT": "60",
        ].merging(more) { $1 }
    }

    /// Runs it on a pseudo terminal of 80 columns: each time that what it wrote contains `text`, `answer` is typed.
    ///
    /// - Parameter program: another one than `cortex`.
    /// - Returns: all that it wrote, and its exit status.
    static func onTerminal(
        _ arguments: [String], folder: URL, columns: UInt16 = 80, rows: UInt16 = 24,
        environment: [String: String] = [:], program: String = binary, typing: [(text: String, answer: String)]
    ) async throws -> (text: String, status: Int32) {
        // What grantpt and ptsname do on Linux; Swift does not see those (TIOCSPTLCK, TIOCGPTN).
        let leader = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        var (lock, number): (CInt, CUnsignedInt) = (0, 0)
        guard leader >= 0, ioctl(leader, 0x4004_5431, &lock) == 0, ioctl(leader, 0x8004_5430, &number) == 0 else {
            throw Failure.noTerminal
        }
        let follower = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY | O_CLOEXEC)
        guard follower >= 0 else { throw Failure.noTerminal }
        var size = winsize(ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        _ = ioctl(follower, UInt(TIOCSWINSZ), &size)
        // `setsid --ctty`: the terminal is the process's own, so that Ctrl-C reaches it.
        let process = try ChildProcess(
            "setsid", ["--ctty", "--wait", program] + arguments,
            environment: variables(folder, ["TERM": "xterm"].merging(environment) { $1 }), directory: folder.path,
            input: .descriptor(follower), output: .descriptor(follower), errors: .descriptor(follower))
        close(follower)
        let seen = await withCheckedContinuation { (continuation: CheckedContinuation<String, Never>) in
            Thread.detachNewThread {
                continuation.resume(returning: Self.converse(on: leader, typing: typing))
            }
        }
        let status = await process.wait()
        close(leader)
        return (seen, status)
    }

    /// Reads to the end, and types each answer once its text was seen.
    private static func converse(on leader: CInt, typing: [(text: String, answer: String)]) -> String {
        var seen: [UInt8] = []
        var (typed, from) = (0, 0)
        var chunk = [UInt8](repeating: 0, count: 4096)
        var waiting = pollfd(fd: leader, events: Int16(POLLIN), revents: 0)
        while poll(&waiting, 1, 60_000) > 0 {
            let count = read(leader, &chunk, chunk.count)
            guard count > 0 else { break }
            seen += chunk.prefix(count)
            while typed < typing.count, String(decoding: seen[from...], as: UTF8.self).contains(typing[typed].text) {
                _ = write(leader, typing[typed].answer, typing[typed].answer.utf8.count)
                (typed, from) = (typed + 1, seen.count)
            }
        }
        return String(decoding: seen, as: UTF8.self)
    }

    /// Runs it on a pseudo terminal until what it wrote contains `text`, then presses Ctrl-C.
    static func onTerminal(_ arguments: [String], folder: URL, until text: String) async throws -> String {
        try await onTerminal(arguments, folder: folder, typing: [(text, "\u{03}")]).text
    }
}

extension Array {
    /// Both elements of two.
    var pair: (Element, Element)? { count == 2 ? (self[0], self[1]) : nil }
}
