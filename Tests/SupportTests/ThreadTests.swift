import Core
import Foundation
import Support
import Synchronization
import TestSupport
import Testing

@Suite("Threads that depend on nothing", .timeLimit(.minutes(1)))
struct ThreadTests {
    @Test("U4: lines for a reader who does not read wait, then are dropped and counted; no caller waits")
    func boundedWriter() async throws {
        var ends: [CInt] = [-1, -1]
        try #require(pipe(&ends) == 0)
        let (reading, writing) = (ends[0], ends[1])
        let writer = BoundedWriter(descriptor: writing, limit: 100_000)
        let line = String(repeating: "x", count: 999) + "\n"
        let start = SystemClock().instant()
        for _ in 0..<10_000 { writer.write(line) }
        #expect(SystemClock().instant() - start < .seconds(5))
        #expect(!writer.flush(milliseconds: 20))
        // Now a reader starts.
        let text = Mutex("")
        try PlatformThread.start(name: "reader") {
            var buffer = [UInt8](repeating: 0, count: 65536)
            while case let count = read(reading, &buffer, buffer.count), count > 0 {
                text.withLock { $0 += String(decoding: buffer[..<count], as: UTF8.self) }
            }
        }
        try await expectEventually { text.withLock { $0.contains("lines of this log were dropped") } }
        #expect(writer.flush(milliseconds: 5000))
        writer.write("after\n")
        try await expectEventually { text.withLock { $0.hasSuffix("after\n") } }
        let (written, dropped) = text.withLock { text in
            (
                text.components(separatedBy: line).count - 1,
                text.matches(of: #/(\d+) lines of this log/#).reduce(0) { $0 + (Int($1.1) ?? 0) }
            )
        }
        #expect(written + dropped == 10_000)
        #expect(written < 400)
        close(writing)
    }

    @Test("A closed standard error loses the lines and nothing else")
    func closed() throws {
        signal(SIGPIPE, SIG_IGN)
        var ends: [CInt] = [-1, -1]
        try #require(pipe(&ends) == 0)
        close(ends[0])
        let writer = BoundedWriter(descriptor: ends[1])
        writer.write("nobody reads\n")
        #expect(writer.flush(milliseconds: 5000))
        close(ends[1])
    }

    @Test("A thread waits for a wakeup no longer than asked")
    func wakeup() throws {
        let wakeup = try ThreadWakeup()
        #expect(!wakeup.wait(milliseconds: 10))
        wakeup.wake()
        wakeup.wake()
        #expect(wakeup.wait(milliseconds: 10_000))
        #expect(!wakeup.wait(milliseconds: 0))
        try PlatformThread.start(name: "waker") { wakeup.wake() }
        #expect(wakeup.wait(milliseconds: 10_000))
    }

    @Test("N9: a secret shows nothing in any description, dump or mirror, also inside other values")
    func secret() {
        struct Holder { var name = "holder"; var token = Secret("s3cr3t-text") }
        let holder = Holder()
        var dumped = ""
        dump(holder, to: &dumped)
        for text in [
            "\(holder)", String(reflecting: holder), dumped, "\(holder.token)", String(reflecting: holder.token),
            "\([holder.token])", "\(Optional(holder.token) as Any)",
        ] {
            #expect(!text.contains("s3cr3t"))
        }
        #expect(holder.token.revealed == "s3cr3t-text")
    }
}
