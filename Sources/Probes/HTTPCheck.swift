import ContainerHTTP
import Core
import NIOCore
import NIOHTTP1
import Support

/// One GET of a probe over a connection of its own. Only the status of the answer is read.
actor HTTPCheck {
    nonisolated let executor: LoopExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let target: HTTPGet
    private var connection: ContainerConnection?
    private var isCancelled = false

    private init(_ target: HTTPGet, on loop: any EventLoop) {
        self.target = target
        self.executor = LoopExecutor(loop)
    }

    /// - Returns: the status of the answer.
    /// - Throws: ``PlatformError`` when the port refuses, ``ProbeFailure`` when the answer is not HTTP.
    static func status(of target: HTTPGet, connector: any Connector, group: any EventLoopGroup) async throws -> Int {
        let descriptor = try await connector.connect(port: target.port)
        let check = HTTPCheck(target, on: group.next())
        return try await withTaskCancellationHandler {
            try await check.status(over: descriptor)
        } onCancel: {
            Task { await check.cancel() }
        }
    }

    private func status(over descriptor: CInt) async throws -> Int {
        let connection = try await ContainerConnection.adopt(
            descriptor, loop: executor.loop, transport: SocketTransport())
        self.connection = connection
        defer { connection.close() }
        // The check was cancelled while the channel was made: nothing is sent.
        if isCancelled { throw CancellationError() }
        connection.send(head, body: [])
        while true {
            switch await connection.next() {
            case .head(let answer): return Int(answer.status.code)
            case .body, .end: continue
            case .lost(.malformed(let reason)), .lost(.headTooLarge(let reason)):
                throw failure("the answer could not be read: \(reason)")
            case .lost(.closed): throw failure("the connection was closed without an answer")
            }
        }
    }

    private func cancel() {
        isCancelled = true
        connection?.close()
    }

    private var head: HTTPRequestHead {
        let path = target.path.hasPrefix("/") ? target.path : "/" + target.path
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path)
        head.headers.add(name: "Host", value: "localhost:\(target.port)")
        head.headers.add(name: "User-Agent", value: "kube-probe/cortex-\(CortexVersion.current)")
        head.headers.add(name: "Accept", value: "*/*")
        head.headers.add(name: "Connection", value: "close")
        return head
    }

    private func failure(_ reason: String) -> ProbeFailure {
        ProbeFailure("GET \(target.path) on port \(target.port): \(reason)")
    }
}
