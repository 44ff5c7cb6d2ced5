import AsyncHTTPClient
import Core
import Foundation
import Gateway
import HTTPServing
import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import StoreSQLite
import Support
import TestSupport
import Testing

@Suite("On the durable store")
struct DurableTests {
    private let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    @Test("A9: 64 MiB go in and come out byte for byte")
    func large() async throws {
        try await withTemporaryDirectory { folder in
            let store = try await SQLiteStore.open(
                configuration: .init(directory: folder.path), now: SystemClock().now(), logger: logger)
            try await GatewayFixture.with(store: store) { gateway in
                let mebibyte = (0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
                let pieces = [ByteBuffer](repeating: ByteBuffer(bytes: mebibyte), count: 64)
                #expect(try await gateway.send(.POST, "/hello", .stream(pieces.async, length: .unknown)).status == 200)
                let claimed = try #require(try await gateway.claim().first)
                #expect(claimed.payload.size == 64 << 20)
                let stored = try await gateway.bytes(of: claimed.payload)
                let writer = try await store.makeBodyWriter()
                var wrong = 0
                for start in stride(from: 0, to: stored.count, by: 1 << 20) {
                    let part = Array(stored[start..<min(stored.count, start + (1 << 20))])
                    if part != mebibyte { wrong += 1 }
                    try await writer.write(part)
                }
                #expect(wrong == 0 && stored.count == 64 << 20)
                let done = try await store.finish(
                    claimed.lease, outcome: .completed(try await writer.finish()), now: gateway.clock.now())
                #expect(done == .applied)
                let answer = try await gateway.send(.GET, "/hello/\(claimed.id)")
                let head = "{\"id\":\"\(claimed.id)\",\"status\":\"completed\",\"result\":".utf8.count
                let returned = Array(answer.bytes[head..<(head + (64 << 20))])
                #expect(returned == stored)
            }
            try await store.close()
        }
    }

    @Test("A1, A2: what was accepted is there after a restart of everything")
    func restart() async throws {
        try await withTemporaryDirectory { folder in
            let ids = AsyncStream.makeStream(of: String.self)
            for round in 0..<2 {
                let store = try await SQLiteStore.open(
                    configuration: .init(directory: folder.path), now: SystemClock().now(), logger: logger)
                try await GatewayFixture.with(apis: round == 0 ? [.test()] : [], store: store) { gateway in
                    if round == 0 {
                        ids.continuation.yield(try await gateway.submit())
                        ids.continuation.finish()
                    } else {
                        for await id in ids.stream {
                            let answer = try await gateway.send(.GET, "/hello/\(id)")
                            #expect(answer.text == "{\"id\":\"\(id)\",\"status\":\"in_queue\",\"attempts\":0}\n")
                        }
                    }
                }
                try await store.close()
            }
        }
    }

    @Test("C10: pods reach the same gateway over a unix socket, by whatever host name")
    func unixSocket() async throws {
        try await withTemporaryDirectory { folder in
            let socket = folder.appendingPathComponent("gateway.sock").path
            let store = FaultyStore()
            try await store.deploy(.test(.test()), now: SystemClock().now())
            let gateway = Gateway(
                store: store, listeners: [.tcp(host: "127.0.0.1", port: 0), .unix(path: socket)],
                clock: SystemClock(), logger: logger)
            let services = ServiceGroup(configuration: .init(services: [gateway], logger: logger))
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await services.run() }
                let addresses = try await gateway.addresses()
                #expect(addresses.count == 2 && addresses[1] == .unix(path: socket))
                var request = HTTPClientRequest(
                    url: "http+unix://\(socket.replacing("/", with: "%2F"))/hello")
                request.method = .POST
                request.headers.add(name: "Host", value: "ingressgateway-apis.istio-system.svc.cluster.local")
                request.body = .bytes(ByteBuffer(string: "x"))
                let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
                let body = try await response.body.collect(upTo: 1000)
                #expect(response.status == .ok && String(buffer: body).hasPrefix("{\"id\":\""))
                await services.triggerGracefulShutdown()
                try await group.waitForAll()
            }
        }
    }
}
