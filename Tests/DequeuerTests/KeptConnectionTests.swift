import ContainerHTTP
import Core
import Foundation
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import Dequeuer

/// Real sockets; runs an action of the test in the moment in which a kept connection has been found usable.
private final class Ambush: ContainerTransport {
    private let action = Mutex<(@Sendable () -> Void)?>(nil)
    private let sockets = SocketTransport()
    /// In bytes; with a small one, a payload without a reader cannot be written completely.
    private let sendBuffer: CInt?

    init(sendBuffer: CInt? = nil) { self.sendBuffer = sendBuffer }

    func arm(_ action: @escaping @Sendable () -> Void) { self.action.withLock { $0 = action } }

    func channel(
        of descriptor: CInt, on loop: any EventLoop,
        initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel> {
        if var size = sendBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<CInt>.size))
        }
        return sockets.channel(of: descriptor, on: loop, initialize: initialize)
    }

    func isQuiet(_ descriptor: CInt) -> Bool {
        guard sockets.isQuiet(descriptor) else { return false }
        action.withLock { $0.take() }?()
        return true
    }

    func acknowledgement(_ descriptor: CInt) -> Acknowledgement? { sockets.acknowledgement(descriptor) }
}

@Suite("Kept connections that end", .timeLimit(.minutes(2)))
struct KeptConnectionTests {
    /// How a container ends a kept connection, and what that proves.
    enum End: String, CaseIterable, Sendable {
        /// Closed between the check of the connection and the first byte of the request.
        case fin, reset
        /// It ends what it sends, but goes on reading: the request is acknowledged.
        case halfClose
        /// The request was read, or not, before the connection was closed.
        case finAfterReading, resetWithUnreadBytes, resetAfterReading
        /// Part of an answer had arrived.
        case withinHead, withinBody

        var counts: Bool {
            switch self {
            case .fin, .reset: false
            default: true
            }
        }
    }

    @Test(
        "A11: a kept connection that ends is replaced; only a delivery that the container may have seen counts",
        arguments: End.allCases, [2, 100_000])
    func ends(_ end: End, _ size: Int) async throws {
        let ambush = Ambush()
        var settings = Platform.Settings()
        settings.transport = ambush
        // The idle connections are checked only before the request.
        settings.configuration.pollMin = .seconds(60)
        settings.configuration.pollMax = .seconds(60)
        let first = Mutex<CInt>(-1)
        try await RawContainer.with { descriptor, number in
            guard RawContainer.readRequest(descriptor) else { return }
            if number == 1 { first.withLock { $0 = descriptor } }
            RawContainer.answer(descriptor)
            guard number == 1 else {
                while RawContainer.readRequest(descriptor) { RawContainer.answer(descriptor) }
                close(descriptor)
                return
            }
            switch end {
            case .fin, .reset, .halfClose: return
            case .resetWithUnreadBytes:
                var byte: UInt8 = 0
                _ = recv(descriptor, &byte, 1, Int32(MSG_PEEK))
                close(descriptor)
            case .finAfterReading:
                _ = RawContainer.readRequest(descriptor)
                close(descriptor)
            case .resetAfterReading:
                _ = RawContainer.readRequest(descriptor)
                RawContainer.reset(descriptor)
            case .withinHead, .withinBody:
                _ = RawContainer.readRequest(descriptor)
                RawContainer.write(
                    descriptor,
                    end == .withinHead
                        ? "HTTP/1.1 200 OK\r\nContent-"
                        : "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[1")
                close(descriptor)
            }
        } _: { container in
            try await Platform.with(settings, port: container.port) { platform in
                #expect(try await platform.run().attempts == 1)
                ambush.arm {
                    let descriptor = first.withLock { $0 }
                    switch end {
                    case .fin: close(descriptor)
                    case .reset: RawContainer.reset(descriptor)
                    case .halfClose: shutdown(descriptor, Int32(SHUT_WR))
                    default: break
                    }
                }
                let payload = bytes("\"" + String(repeating: "x", count: size - 2) + "\"")
                let body: Body = size > Limits.inlineBody ? try await platform.file(payload) : .inline(payload)
                let record = try await platform.run(body)
                #expect(record.status == .completed, "\(String(describing: record.failure))")
                #expect(record.attempts == (end.counts ? 2 : 1))
                #expect(container.connections == 2)
                if end == .halfClose { close(first.withLock { $0 }) }
            }
        }
    }

    @Test("A11: a payload that is sent in pieces goes over a connection of its own")
    func streamed() async throws {
        try await Platform.with { connection in
            while try await connection.readRequest() != nil { try await connection.answer("\(connection.number)") }
        } _: { platform, server in
            #expect(try await platform.result(platform.run()) == bytes("1"))
            let payload = try await platform.file([UInt8](repeating: 0x20, count: Limits.bodyPiece + 1))
            let record = try await platform.run(payload)
            #expect(record.attempts == 1)
            #expect(try await platform.result(record) == bytes("2"))
        }
    }

    @Test("A11: a server that closes each connection 5 ms after its answer makes no request fail", arguments: [1, 4])
    func lateClose(_ concurrency: Int) async throws {
        var settings = Platform.Settings()
        settings.maxConcurrency = concurrency
        try await RawContainer.with { descriptor, _ in
            if RawContainer.readRequest(descriptor) {
                RawContainer.answer(descriptor)
                usleep(5000)
            }
            close(descriptor)
        } _: { container in
            try await Platform.with(settings, port: container.port) { platform in
                var ids: [RequestID] = []
                for _ in 0..<40 { ids.append(try await platform.submit()) }
                for id in ids {
                    let record = try await platform.end(of: id)
                    #expect(record.status == .completed, "\(String(describing: record.failure))")
                    #expect(record.attempts <= 2)
                }
            }
        }
    }

    @Test("A11: a server that accepts and closes for ever ends the request after its attempts, not in a loop")
    func acceptsAndCloses() async throws {
        try await RawContainer.with { descriptor, _ in
            close(descriptor)
        } _: { container in
            try await Platform.with(.init(), port: container.port) { platform in
                let record = try await platform.run()
                #expect(record.status == .failed)
                #expect(record.attempts == 3)
                #expect([.replicaLost, .containerUnreachable].contains(record.failure?.kind))
                #expect(container.connections == 3)
            }
        }
    }

    @Test("C5, A10: what arrives before the next request is written is not its answer")
    func secondAnswer() async throws {
        let ambush = Ambush(sendBuffer: 4096)
        var settings = Platform.Settings()
        settings.transport = ambush
        // The idle connections are checked only before the request.
        settings.configuration.pollMin = .seconds(60)
        settings.configuration.pollMax = .seconds(60)
        let first = Mutex<CInt>(-1)
        try await RawContainer.with { descriptor, number in
            if number == 1 { first.withLock { $0 = descriptor } }
            // The first connection reads nothing after its first request, so the second one cannot be written as a
            // whole.
            while RawContainer.readRequest(descriptor) {
                RawContainer.answer(descriptor, "\(number)")
                if number == 1 { return }
            }
            close(descriptor)
        } _: { container in
            try await Platform.with(settings, port: container.port) { platform in
                #expect(try await platform.result(platform.run()) == bytes("1"))
                ambush.arm { RawContainer.answer(first.withLock { $0 }, "\"evil\"") }
                let record = try await platform.run(platform.file([UInt8](repeating: 0x20, count: Limits.bodyPiece)))
                #expect(try await platform.result(record) == bytes("2"))
                close(first.withLock { $0 })
            }
        }
    }
}
