import Core
import Dequeuer
import NIOCore
import Synchronization
import TestSupport
import Testing

/// A payload of spaces that is made up as it is read.
private final class EndlessReader: BodyReader {
    private let rest: Mutex<Int64>
    private let taken: Mutex<Int64>

    init(_ size: Int64) {
        self.rest = Mutex(size)
        self.taken = Mutex(0)
    }

    var bytesRead: Int64 { taken.withLock { $0 } }

    func read(upTo limit: Int) async throws -> [UInt8]? {
        let count = rest.withLock { rest -> Int in
            let count = Int(min(rest, Int64(limit)))
            rest -= Int64(count)
            return count
        }
        taken.withLock { $0 += Int64(count) }
        return count == 0 ? nil : [UInt8](repeating: 0x20, count: count)
    }

    func close() async {}
}

/// A disk that is slow until its gate opens.
private final class SlowWriter: BodyWriter {
    let gate = Gate()
    private let written = Mutex<Int64>(0)

    var bytesWritten: Int64 { written.withLock { $0 } }

    func write(_ bytes: [UInt8]) async throws {
        await gate.wait()
        written.withLock { $0 += Int64(bytes.count) }
    }

    func finish() async throws -> Body { .stored(key: "made-up", size: bytesWritten) }

    func discard() async {}
}

@Suite("Streaming", .timeLimit(.minutes(5)))
struct StreamingTests {
    @Test("A9: a payload is read only as fast as the container takes it, and arrives whole")
    func payload() async throws {
        let size: Int64 = 64 << 20
        let reader = EndlessReader(size)
        let gate = Gate()
        let received = Mutex<Int64>(0)
        try await Platform.with { connection in
            guard let head = try await connection.readHead() else { return }
            await gate.wait()
            try await connection.readBody(SeenRequest(head: head, body: []).contentLength) { piece in
                received.withLock { $0 += Int64(piece.readableBytes) }
            }
            try await connection.answer("1")
        } _: { platform, _ in
            platform.store.faults.withLock { $0.reader = { _ in reader } }
            let id = try await platform.submit(.stored(key: "big", size: size))
            #expect(try await eventually { reader.bytesRead > 0 })
            // Whatever the two sockets hold, and one piece; far from all of it.
            var before: Int64 = -1
            while before != reader.bytesRead {
                before = reader.bytesRead
                for _ in 0..<1000 { await Task.yield() }
            }
            #expect(reader.bytesRead < 16 << 20)
            gate.open()
            #expect(try await platform.end(of: id).status == .completed)
            #expect(received.withLock { $0 } == size)
        }
    }

    @Test("A9: a result is taken from the container only as fast as it can be stored")
    func result() async throws {
        let writer = SlowWriter()
        let sent = Mutex<Int64>(0)
        let size: Int64 = 48 << 20
        try await Platform.with { connection in
            guard try await connection.readRequest() != nil else { return }
            try await connection.write(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(size + 2)\r\n\r\n\"")
            for _ in 0..<(size >> 16) {
                try await connection.writeThrough([UInt8](repeating: 0x78, count: 1 << 16))
                sent.withLock { $0 += 1 << 16 }
            }
            try await connection.write("\"")
            await connection.waitForClose()
        } _: { platform, _ in
            platform.store.faults.withLock { $0.writer = { writer } }
            let id = try await platform.submit()
            #expect(try await eventually { sent.withLock { $0 } > 0 })
            var before: Int64 = -1
            while before != sent.withLock({ $0 }) {
                before = sent.withLock { $0 }
                for _ in 0..<1000 { await Task.yield() }
            }
            // What the two sockets hold (at most 4 MiB and 2 MiB), and two pieces.
            #expect(sent.withLock { $0 } < 8 << 20)
            writer.gate.open()
            let record = try await platform.end(of: id)
            #expect(record.result == .stored(key: "made-up", size: size + 2))
        }
    }

    @Test(
        "C4: an answer that comes before the end of the request is the answer, and the rest is not sent",
        arguments: ["413 Too Large", "200 OK"])
    func earlyAnswer(_ status: String) async throws {
        let reader = EndlessReader(1 << 30)
        try await Platform.with { connection in
            guard try await connection.readHead() != nil else { return }
            try await connection.answer("\"no\"", status: status)
            await connection.waitForClose()
        } _: { platform, server in
            platform.store.faults.withLock { $0.reader = { _ in reader } }
            let record = try await platform.run(.stored(key: "big", size: 1 << 30))
            if status.hasPrefix("200") {
                #expect(record.status == .completed)
            } else {
                #expect(record.failure?.statusCode == 413)
                #expect(record.failure?.body == "\"no\"")
            }
            #expect(reader.bytesRead < 1 << 30)
            #expect(try await eventually { server.openConnections == 0 })
        }
    }

    @Test("C2: a container that answers while it still reads gets the whole request")
    func duplex() async throws {
        let size = 8 << 20
        let reader = EndlessReader(Int64(size))
        try await Platform.with { connection in
            guard try await connection.readHead() != nil else { return }
            try await connection.write(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n")
            try await connection.readBody(size)
            try await connection.write("1\r\n]\r\n0\r\n\r\n")
            await connection.waitForClose()
        } _: { platform, _ in
            platform.store.faults.withLock { $0.reader = { _ in reader } }
            let record = try await platform.run(.stored(key: "big", size: Int64(size)))
            #expect(record.status == .completed, "\(String(describing: record.failure))")
        }
    }

    @Test("C2: a payload that turns out shorter than announced never reaches the container as a whole request")
    func shortPayload() async throws {
        let reader = EndlessReader(100_000)
        let whole = Journal<Int>()
        try await Platform.with { connection in
            guard let request = try await connection.readRequest() else { return }
            whole.append(request.body.count)
        } _: { platform, _ in
            platform.store.faults.withLock { $0.reader = { _ in reader } }
            let record = try await platform.run(.stored(key: "big", size: 200_000))
            #expect(record.status == .failed)
            #expect(record.failure?.message.contains("payload") == true)
            #expect(whole.all.isEmpty)
        }
    }
}
