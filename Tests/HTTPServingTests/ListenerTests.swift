import Core
import Foundation
import HTTPServing
import NIOCore
import NIOHTTP1
import NIOPosix
import TestSupport
import Testing

@Suite("Listeners")
struct ListenerTests {
    @Test("U2: port 0 takes a free port and reports it; several listeners serve the same")
    func severalListeners() async throws {
        try await withTemporaryDirectory { folder in
            let socket = folder.appendingPathComponent("gateway.sock").path
            try await withServer(
                listeners: [.unix(path: socket), .tcp(host: "127.0.0.1", port: 0)], handler: echo
            ) { port, _ in
                #expect(port > 0)
                try await RawConnection.open(port: port) { connection in
                    try await connection.send("GET /tcp HTTP/1.1\r\nHost: h\r\n\r\n")
                    #expect(try await connection.readResponse().body == "GET /tcp - ")
                }
                #expect(try await get(socket).contains("GET /unix - "))
            }
            #expect(!FileManager.default.fileExists(atPath: socket))
        }
    }

    @Test("U5: a taken port is one clear line")
    func portTaken() async throws {
        try await withServer(handler: echo) { port, _ in
            let error = await #expect(throws: PlatformError.self) {
                try await withServer(listeners: [.tcp(host: "127.0.0.1", port: port)], handler: echo) { _, _ in }
            }
            #expect(error?.code == .setup)
            #expect(error?.message.contains("127.0.0.1:\(port) is taken") == true)
            #expect(error?.message.contains("\n") == false)
        }
    }

    @Test("U5: a host that is not this machine's is one clear line", arguments: ["192.0.2.1", "no-such-host.invalid"])
    func foreignHost(_ host: String) async throws {
        let error = await #expect(throws: PlatformError.self) {
            try await withServer(listeners: [.tcp(host: host, port: 0)], handler: echo) { _, _ in }
        }
        #expect(error?.code == .setup)
    }

    @Test("C10: a socket with a path longer than an address holds works")
    func longPath() async throws {
        try await withTemporaryDirectory { folder in
            let deep = folder.appendingPathComponent(String(repeating: "d", count: 120))
            try FileManager.default.createDirectory(at: deep, withIntermediateDirectories: true)
            let socket = deep.appendingPathComponent("gateway.sock").path
            try await withServer(listeners: [.unix(path: socket)], handler: echo) { _, _ in
                #expect(FileManager.default.fileExists(atPath: socket))
                let link = folder.appendingPathComponent("short").path
                try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: socket)
                #expect(try await get(link).contains("GET /unix - "))
            }
            #expect(!FileManager.default.fileExists(atPath: socket))
        }
    }

    @Test("U5: a socket left by a killed server is replaced; anything else is left alone")
    func staleSocket() async throws {
        try await withTemporaryDirectory { folder in
            let socket = folder.appendingPathComponent("s").path
            let stale = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .bind(unixDomainSocketPath: socket).get()
            // The name stays when the socket is closed under another one.
            try FileManager.default.moveItem(atPath: socket, toPath: socket + "2")
            try await stale.close()
            try FileManager.default.moveItem(atPath: socket + "2", toPath: socket)
            try await withServer(listeners: [.unix(path: socket)], handler: echo) { _, _ in
                let first = try await get(socket)
                #expect(first.contains("GET /unix - "))
                let living = await #expect(throws: PlatformError.self) {
                    try await withServer(listeners: [.unix(path: socket)], handler: echo) { _, _ in }
                }
                #expect(living?.message.contains("another server is listening") == true)
                let second = try await get(socket)
                #expect(second.contains("GET /unix - "))
            }
            let file = folder.appendingPathComponent("file").path
            try Data("precious".utf8).write(to: URL(fileURLWithPath: file))
            let refused = await #expect(throws: PlatformError.self) {
                try await withServer(listeners: [.unix(path: file)], handler: echo) { _, _ in }
            }
            #expect(refused?.code == .setup)
            #expect(try String(contentsOfFile: file, encoding: .utf8) == "precious")
        }
    }

    private func get(_ socket: String) async throws -> String {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(unixDomainSocketPath: socket) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            try await outbound.write(ByteBuffer(string: "GET /unix HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
            var text = ""
            for try await piece in inbound { text += String(buffer: piece) }
            return text
        }
    }
}
