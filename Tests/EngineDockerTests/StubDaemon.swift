import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import TestSupport

/// Stands for an engine whose behaviour Podman does not show: an HTTP server on a unix socket that answers as the test
/// says.
final class StubDaemon: Sendable {
    struct Request: Sendable {
        var method: String
        /// Without the query.
        var path: String
        var query: String
        var headers: HTTPHeaders
        var body: String
    }

    struct Answer: Sendable {
        var status = 200
        /// Sent one by one, each flushed.
        var chunks: [[UInt8]] = []
        /// The connection stays open after the chunks.
        var staysOpen = false

        static func json(_ text: String, status: Int = 200) -> Answer {
            Answer(status: status, chunks: [Array(text.utf8)])
        }
        static func status(_ status: Int) -> Answer { Answer(status: status) }
        static func chunks(_ chunks: [[UInt8]], staysOpen: Bool = false) -> Answer {
            Answer(chunks: chunks, staysOpen: staysOpen)
        }
    }

    private let seen = Mutex<[Request]>([])
    private let channel = Mutex<(any Channel)?>(nil)

    /// Every request so far.
    var requests: [Request] { seen.withLock { $0 } }

    func requests(_ method: String, _ part: String) -> [Request] {
        requests.filter { $0.method == method && $0.path.contains(part) }
    }

    /// Serves `answer` at a new socket while `body` runs. The answers of a healthy Docker to `/version` and `/info` are
    /// there already.
    static func with<Result>(
        version: String = docker, _ answer: @escaping @Sendable (Request) -> Answer?,
        _ body: (StubDaemon, String, URL) async throws -> Result
    ) async throws -> Result {
        try await withTemporaryDirectory { folder in
            let daemon = StubDaemon()
            let socket = folder.path + "/d.sock"
            try await daemon.listen(socket) { request in
                if let answer = answer(request) { return answer }
                if request.path.hasSuffix("/version") { return .json(version) }
                if request.path.hasSuffix("/info") {
                    return .json(#"{"NCPU":4,"MemTotal":8000000000,"Runtimes":{"runc":{}}}"#)
                }
                if request.path.hasSuffix("/networks") || request.path.hasSuffix("/containers/json") {
                    return .json("null")
                }
                return .json(#"{"message":"no such thing"}"#, status: 404)
            }
            let result = try await body(daemon, socket, folder)
            try await daemon.channel.withLock { $0 }?.close()
            return result
        }
    }

    static let docker =
        #"{"Components":[{"Name":"Engine"}],"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Arch":"amd64"}"#
    static let podman =
        #"{"Components":[{"Name":"Podman Engine"}],"Version":"4.3.1","ApiVersion":"1.41","MinAPIVersion":"1.24","Arch":"amd64"}"#

    private func listen(_ socket: String, _ answer: @escaping @Sendable (Request) -> Answer) async throws {
        let bound = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(
                        Handler { request in
                            self.seen.withLock { $0.append(request) }
                            return answer(request)
                        })
                }
            }
            .bind(unixDomainSocketPath: socket).get()
        channel.withLock { $0 = bound }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let answer: @Sendable (Request) -> Answer
        private var request: Request?

        init(_ answer: @escaping @Sendable (Request) -> Answer) { self.answer = answer }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                let parts = head.uri.split(separator: "?", maxSplits: 1)
                request = Request(
                    method: head.method.rawValue, path: String(parts[0]),
                    query: parts.count > 1 ? String(parts[1]) : "",
                    headers: head.headers, body: "")
            case .body(let buffer): request?.body += String(buffer: buffer)
            case .end:
                guard let request else { return }
                reply(answer(request), context)
            }
        }

        private func reply(_ answer: Answer, _ context: ChannelHandlerContext) {
            let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: answer.status))
            context.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
            for chunk in answer.chunks {
                context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: chunk)))), promise: nil)
            }
            if !answer.staysOpen { context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil) }
        }
    }
}

/// A frame of the engine's multiplexed stream.
func frame(_ text: String, stream: UInt8 = 1) -> [UInt8] {
    let bytes = Array(text.utf8)
    let count = UInt32(bytes.count)
    return [stream, 0, 0, 0, UInt8(count >> 24), UInt8(count >> 16 & 255), UInt8(count >> 8 & 255), UInt8(count & 255)]
        + bytes
}
