import CLinux
import Glibc

/// A container's log on disk: one file that grows to the limit, and the one before it (`.1`).
final class LogFile {
    private let path: String
    private let limit: Int
    private var descriptor: CInt = -1
    private var size = 0
    /// Whether the last byte written ended a line.
    private var isAtLineStart = true
    /// Lines written so far, to this file and those before it. It stands beside each file at its begin and its end, so
    /// that a reader that was slower than the rotation knows how many lines it lost.
    private var lines: Int64 = 0
    /// Bytes that were lost because the disk was full.
    private var lost = 0
    /// The end of what was written last, for messages.
    private(set) var lastLine = ""

    init(path: String, limit: Int) {
        self.path = path
        self.limit = limit
    }

    func append(_ bytes: UnsafeRawBufferPointer) {
        guard let last = bytes.last else { return }
        note(bytes)
        if lost > 0, put(Array("[cortex] \(lost) bytes of output were lost: the disk was full\n".utf8)) { lost = 0 }
        if !put(bytes) { lost += bytes.count }
        isAtLineStart = last == UInt8(ascii: "\n")
    }

    /// The container ended: what it wrote next time begins a line.
    func endLine() {
        if !isAtLineStart { _ = put([UInt8(ascii: "\n")]) }
        isAtLineStart = true
    }

    private func put(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes(put) }

    private func put(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if descriptor < 0 { open() }
        if descriptor >= 0, size > 0, size + bytes.count > limit {
            rotate()
            open()
        }
        guard descriptor >= 0 else { return false }
        var written = 0
        while written < bytes.count {
            let count = write(descriptor, bytes.baseAddress?.advanced(by: written), bytes.count - written)
            guard count > 0 else { return false }
            for byte in bytes[written..<written + count] where byte == UInt8(ascii: "\n") { lines += 1 }
            written += count
            size += count
        }
        return true
    }

    private func open() {
        descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        size = descriptor >= 0 ? max(0, Int(lseek(descriptor, 0, SEEK_END))) : 0
    }

    /// The new file is complete before it gets the log's name.
    private func rotate() {
        _ = cx_set_file_mark(descriptor, "user.cortex.end", lines)
        close(descriptor)
        descriptor = -1
        let draft = path + ".new"
        unlink(draft)
        let new = Glibc.open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        if new >= 0 {
            _ = cx_set_file_mark(new, "user.cortex.begin", lines)
            close(new)
        }
        rename(path, path + ".1")
        if new >= 0 { rename(draft, path) }
    }

    private func note(_ bytes: UnsafeRawBufferPointer) {
        let end = String(decoding: bytes.suffix(512), as: UTF8.self)
        if let line = end.split(separator: "\n", omittingEmptySubsequences: true).last { lastLine = String(line) }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }
}
