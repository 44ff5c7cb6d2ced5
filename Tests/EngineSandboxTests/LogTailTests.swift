import CLinux
import Core
import Foundation
import Support
import Synchronization
import TestSupport
import Testing

@testable import EngineSandbox

@Suite("Logs on disk")
struct LogTailTests {
    private static func read(_ path: String, tail: Int?) throws -> [UInt8] {
        guard let reader = try LogFileReader(path: path, tail: tail, follows: false) else { return [] }
        var bytes: [UInt8] = []
        while true {
            switch try reader.step(podFolder: "/") {
            case .lines(let lines): bytes += lines
            case .nothing: Issue.record("a log that is not followed has no news to wait for")
            case .end: return bytes
            }
        }
    }

    @Test("N8: the last lines are the end of all lines, over the rotation, wherever the blocks and files are cut")
    func tails() async throws {
        try await withTemporaryDirectory { root in
            let path = root.appendingPathComponent("api.log").path
            var random = SeededGenerator(seed: 4)
            for _ in 0..<40 {
                var bytes: [UInt8] = []
                for _ in 0..<Int.random(in: 0...400, using: &random) {
                    let length = [0, 0, 1, 7, 60, 900].randomElement(using: &random) ?? 0
                    bytes += Array(repeating: UInt8.random(in: 97...122, using: &random), count: length) + [10]
                }
                if Bool.random(using: &random) { bytes += Array("no end".utf8) }
                let cut = Int.random(in: 0...bytes.count, using: &random)
                try Data(bytes[..<cut]).write(to: URL(fileURLWithPath: path + ".1"))
                try Data(bytes[cut...]).write(to: URL(fileURLWithPath: path))
                let all = try Self.read(path, tail: nil).logLines
                let expected = bytes.split(separator: 10, omittingEmptySubsequences: false)
                    .map { String(decoding: $0, as: UTF8.self) }
                #expect(all == (bytes.last.map { $0 != 10 } ?? false ? expected : expected.dropLast()))
                for tail in [0, 1, 2, 50, 399, 1000] {
                    #expect(try Self.read(path, tail: tail).logLines == all.suffix(tail))
                }
            }
        }
    }

    @Test("N8: the last lines of 32 MiB of line ends, and of one endless line, are a few bytes")
    func hostile() async throws {
        try await withTemporaryDirectory { root in
            let path = root.appendingPathComponent("api.log").path
            try Data(repeating: 10, count: 16 << 20).write(to: URL(fileURLWithPath: path + ".1"))
            try Data(repeating: 10, count: 16 << 20).write(to: URL(fileURLWithPath: path))
            #expect(try Self.read(path, tail: 5) == [10, 10, 10, 10, 10])
            try Data(repeating: 0, count: 16 << 20).write(to: URL(fileURLWithPath: path + ".1"))
            try Data(repeating: 0xC3, count: 16 << 20).write(to: URL(fileURLWithPath: path))
            let lines = try Self.read(path, tail: 5).logLines
            #expect(lines.allSatisfy { $0.utf8.count <= Limits.logLine })
            #expect((5...20).contains(lines.count))
        }
    }

    @Test("O4, N8: what follows goes on over rotations; lines that are lost are counted", arguments: [0, 1, 2, 5])
    func rotations(missed: Int) async throws {
        try await withTemporaryDirectory { root in
            let path = root.appendingPathComponent("api.log").path
            var number = 0
            func write(_ count: Int) throws {
                let file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
                defer { close(file) }
                if number == 0 { _ = cx_set_file_mark(file, "user.cortex.begin", 0) }
                for _ in 0..<count {
                    number += 1
                    let line = Array("\(number)\n".utf8)
                    #expect(Foundation.write(file, line, line.count) == line.count)
                }
            }
            func rotate() throws {
                let file = open(path, O_WRONLY)
                _ = cx_set_file_mark(file, "user.cortex.end", Int64(number))
                close(file)
                rename(path, path + ".1")
                let new = open(path, O_WRONLY | O_CREAT, 0o600)
                _ = cx_set_file_mark(new, "user.cortex.begin", Int64(number))
                close(new)
            }
            try write(10)
            let reader = try #require(try LogFileReader(path: path, tail: nil, follows: true))
            var lines: [String] = []
            func readAll() throws {
                while case .lines(let more) = try reader.step(podFolder: root.path) { lines += more.logLines }
            }
            try readAll()
            #expect(lines.last == "10")
            try write(5)
            for _ in 0..<missed {
                try rotate()
                try write(10)
            }
            try readAll()
            // The present file and the one before it are kept.
            let lost = max(0, missed - 2) * 10
            let all = (1...number).map(String.init)
            guard lost > 0, keepsFileMarks(path) else {
                #expect(lost > 0 || lines == all)
                return
            }
            #expect(
                lines == all.prefix(15)
                    + ["[cortex] \(lost) lines were skipped: the log was rotated faster than it was read"]
                    + all.suffix(20))
        }
    }

    /// Whether the file system of the tests keeps extended attributes.
    private func keepsFileMarks(_ path: String) -> Bool {
        let file = open(path, O_RDONLY)
        defer { close(file) }
        return cx_file_mark(file, "user.cortex.begin") >= 0
    }

    @Test("N8: a reader that is slow slows the reading; one that leaves ends it and closes its file")
    func backpressure() async throws {
        try await withTemporaryDirectory { root in
            let path = root.appendingPathComponent("api.log").path
            try Data(repeating: 10, count: 4 << 20).write(to: URL(fileURLWithPath: path))
            let tail = LogTail(path: path, podFolder: root.path, follows: true, tail: nil)
            let handed = Mutex(0)
            let task = Task {
                try await tail.copy { lines in
                    handed.withLock { $0 += lines.count }
                    for await _ in AsyncStream.makeStream(of: Never.self).stream {}
                    try Task.checkCancellation()
                }
            }
            try await expectEventually { handed.withLock { $0 } > 0 }
            #expect(handed.withLock { $0 } <= Limits.logBlock)
            #expect(Self.isOpen(path))
            let begin = ContinuousClock.now
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            // 100 ms, and what a busy machine adds.
            #expect(ContinuousClock.now - begin < .seconds(1))
            try await expectEventually { !Self.isOpen(path) }
            #expect(handed.withLock { $0 } <= Limits.logBlock)
        }
    }

    /// Counts how often files in a folder are opened.
    private final class OpenCounter {
        private let descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))

        init(folder: String) {
            // The kernel makes one of equal events that follow each other, so what lies between two openings is watched
            // as well.
            let events = UInt32(IN_OPEN) | UInt32(IN_CLOSE_WRITE) | UInt32(IN_CLOSE_NOWRITE) | UInt32(IN_MODIFY)
            #expect(inotify_add_watch(descriptor, folder, events) >= 0)
        }

        /// Since the last call, by file.
        func counts() -> [String: Int] {
            var counts: [String: Int] = [:]
            var buffer = [UInt8](repeating: 0, count: 65536)
            while case let size = Foundation.read(descriptor, &buffer, buffer.count), size > 0 {
                var offset = 0
                while offset < size {
                    // A watch, a mask and a cookie, then the length of the name and the name.
                    func number(_ place: Int) -> Int {
                        buffer[(offset + place)..<(offset + place + 4)].reversed().reduce(0) { $0 << 8 | Int($1) }
                    }
                    let length = number(12)
                    let name = buffer[(offset + 16)..<(offset + 16 + length)].prefix { $0 != 0 }
                    if number(4) & Int(IN_OPEN) != 0, !name.isEmpty {
                        counts[String(decoding: name, as: UTF8.self), default: 0] += 1
                    }
                    offset += 16 + length
                }
            }
            return counts
        }

        deinit { close(descriptor) }
    }

    /// A log as `PodInit` writes it: the file stays open.
    private final class Writer {
        private let path: String
        private var file: CInt

        init(_ path: String) {
            self.path = path
            file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        }

        func write(_ text: String) { #expect(Foundation.write(file, text, text.utf8.count) == text.utf8.count) }

        func rotate() {
            close(file)
            file = open(path + ".new", O_WRONLY | O_CREAT | O_APPEND, 0o600)
            rename(path, path + ".1")
            rename(path + ".new", path)
        }

        func finish() {
            close(file)
            file = -1
        }

        func empty() { #expect(ftruncate(file, 0) == 0) }

        deinit { if file >= 0 { close(file) } }
    }

    private final class Lines: Sendable {
        private let all = Mutex<[String]>([])
        var count: Int { all.withLock { $0.count } }
        var last: String? { all.withLock { $0.last } }
        var values: [String] { all.withLock { $0 } }
        func add(_ lines: [String]) { all.withLock { $0 += lines } }
    }

    @Test("N8: what follows a log opens each of its files once, also over rotations, and sees each line by its event")
    func oneOpen() async throws {
        try await withTemporaryDirectory { root in
            let path = root.appendingPathComponent("api.log").path
            let writer = Writer(path)
            let lines = Lines()
            let tail = LogTail(path: path, podFolder: root.path, follows: true, tail: nil)
            let counter = OpenCounter(folder: root.path)
            let task = Task { try await tail.copy { lines.add($0.logLines) } }
            var number = 0
            var opens: [String: Int] = [:]
            let begin = ContinuousClock.now
            for round in 0..<3 {
                if round > 0 { writer.rotate() }
                for _ in 0..<10 {
                    number += 1
                    writer.write("\(number)\n")
                    let expected = "\(number)"
                    try await expectEventually { lines.last == expected }
                }
                for (file, count) in counter.counts() { opens[file, default: 0] += count }
            }
            // Without the events each line would wait for the next look, two seconds later.
            #expect(ContinuousClock.now - begin < FolderChanges.period * 15)
            #expect(lines.values == (1...number).map(String.init))
            // Three files, which the reader opens once each. The writer has made two of them.
            #expect(opens == ["api.log": 3, "api.log.new": 2])
            writer.finish()
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            try await expectEventually { !Self.isOpen(path) && !Self.isOpen(path + ".1") }
        }
    }

    @Test("N8: fifty idle followers look at their logs once in two seconds at most, and end with their pods")
    func idle() async throws {
        try await withTemporaryDirectory { root in
            let looks = Mutex(0)
            let count = 50
            let begin = ContinuousClock.now
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<count {
                    let folder = root.appendingPathComponent("\(number)")
                    try FileManager.default.createDirectory(
                        at: folder.appendingPathComponent("logs"), withIntermediateDirectories: true)
                    var tail = LogTail(
                        path: folder.path + "/logs/api.log", podFolder: folder.path, follows: true, tail: nil)
                    tail.onLook = { looks.withLock { $0 += 1 } }
                    group.addTask { [tail] in try await tail.copy { _ in } }
                }
                // One at the begin, one when the folder is watched, one after the first period.
                try await expectEventually { looks.withLock { $0 } >= 3 * count }
                let periods = Int((ContinuousClock.now - begin) / FolderChanges.period)
                #expect(periods >= 1)
                #expect(looks.withLock { $0 } <= (3 + periods) * count)
                for number in 0..<count {
                    try FileManager.default.removeItem(at: root.appendingPathComponent("\(number)"))
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("N8: a log that is emptied by hand is followed on, with a line that says so")
    func emptied() async throws {
        try await withTemporaryDirectory { root in
            let path = root.appendingPathComponent("api.log").path
            let writer = Writer(path)
            let lines = Lines()
            let task = Task {
                try await LogTail(path: path, podFolder: root.path, follows: true, tail: nil).copy {
                    lines.add($0.logLines)
                }
            }
            writer.write("one\n")
            try await expectEventually { lines.last == "one" }
            writer.empty()
            try await expectEventually { lines.count == 2 }
            writer.write("two\n")
            try await expectEventually { lines.last == "two" }
            #expect(lines.values == ["one", "[cortex] the log was emptied: lines may be missing here", "two"])
            task.cancel()
            _ = await task.result
        }
    }

    @Test("N8: a log that cannot be read is an error and leaves no descriptor open")
    func unreadable() async throws {
        try await withTemporaryDirectory { root in
            let path = root.appendingPathComponent("api.log").path
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            for _ in 0..<20 {
                #expect(throws: PlatformError.self) { try LogFileReader(path: path, tail: 5, follows: true) }
            }
            #expect(!Self.isOpen(path))
        }
    }

    private static func isOpen(_ path: String) -> Bool {
        let manager = FileManager.default
        let real = (try? URL(fileURLWithPath: path).resourceValues(forKeys: [.canonicalPathKey]).canonicalPath) ?? path
        return ((try? manager.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []).contains {
            let target = try? manager.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
            return target == path || target == real
        }
    }
}
