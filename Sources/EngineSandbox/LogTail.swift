import Core
import Foundation
import Support

/// Reads a container's log from disk, over its rotation, and waits for more if asked to.
actor LogTail {
    private let path: String
    private let podFolder: String
    private let follows: Bool
    private let tail: Int?
    private let clock: any PlatformClock
    private var cutter = LineCutter()
    private var lines: [String] = []
    private var next = 0
    private var descriptor: CInt = -1
    private var hasBegun = false
    private var isEnded = false

    init(path: String, podFolder: String, follows: Bool, tail: Int?, clock: any PlatformClock) {
        self.path = path
        self.podFolder = podFolder
        self.follows = follows
        self.tail = tail
        self.clock = clock
    }

    /// The next line, or `nil` at the end.
    func line() async throws -> String? {
        while true {
            if next < lines.count {
                defer { next += 1 }
                return lines[next]
            }
            lines = []
            next = 0
            if isEnded { return nil }
            if !hasBegun {
                try await begin()
            } else if try await !readMore() {
                try await idle()
            }
        }
    }

    /// With `tail` everything on disk is read once and only the end kept.
    private func begin() async throws {
        hasBegun = true
        // The present file first: were it rotated in between, it would be read as the older one and be the same.
        descriptor = try await open(path)
        let older = try await open(path + ".1")
        if older >= 0, !same(older, descriptor) {
            while let bytes = try await read(older) { keep(cutter.take(bytes)) }
        }
        if older >= 0 { close(older) }
        guard let tail else { return }
        while let bytes = try await read(descriptor) {
            keep(cutter.take(bytes))
            if lines.count > 2 * tail + 1024 { lines.removeFirst(lines.count - tail) }
        }
        if !follows { keep(cutter.end()) }
        if lines.count > tail { lines.removeFirst(lines.count - tail) }
    }

    private func keep(_ more: [String]) { lines += more }

    /// False when there is nothing new.
    private func readMore() async throws -> Bool {
        if descriptor < 0 { descriptor = try await open(path) }
        guard let bytes = try await read(descriptor) else { return false }
        keep(cutter.take(bytes))
        return true
    }

    private func idle() async throws {
        guard follows, !isFinished else {
            isEnded = true
            keep(cutter.end())
            if descriptor >= 0 { close(descriptor) }
            descriptor = -1
            return
        }
        let newest = try await open(path)
        if newest >= 0 {
            if descriptor >= 0, same(newest, descriptor) {
                close(newest)
            } else if try await !readMore() {
                // Rotated, and the old file is read to its end.
                if descriptor >= 0 { close(descriptor) }
                descriptor = newest
                return
            } else {
                close(newest)
                return
            }
        }
        try await clock.sleep(for: .milliseconds(100))
    }

    /// The pod was removed.
    private var isFinished: Bool { access(podFolder, F_OK) != 0 }

    private func open(_ path: String) async throws -> CInt {
        try await blocking { Foundation.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) }
    }

    private func read(_ descriptor: CInt) async throws -> [UInt8]? {
        guard descriptor >= 0 else { return nil }
        return try await blocking {
            var buffer = [UInt8](repeating: 0, count: 64 * 1024)
            let count = Foundation.read(descriptor, &buffer, buffer.count)
            return count > 0 ? Array(buffer[..<count]) : nil
        }
    }

    private func same(_ first: CInt, _ second: CInt) -> Bool {
        var one = stat()
        var two = stat()
        return fstat(first, &one) == 0 && fstat(second, &two) == 0 && one.st_ino == two.st_ino
            && one.st_dev == two.st_dev
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }
}
