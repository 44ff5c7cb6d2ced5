import AsyncHTTPClient
package import Core
import Foundation
import NIOCore
import NIOHTTP1
package import Wire

extension OperatorClient {
    /// Lines of an API's replicas (`GET /logs/{api}`, `application/x-ndjson`). Cancel the reading task to stop a stream
    /// that follows.
    ///
    /// An error that the operator reports in the middle ends the stream with it.
    package func logs(
        _ name: String, options: LogOptions
    ) async throws -> AsyncThrowingStream<LogLineDocument, any Error> {
        var query: [(String, String)] = []
        if options.follow { query.append(("follow", "true")) }
        if let tail = options.tail { query.append(("tail", "\(tail)")) }
        if let replica = options.replica { query.append(("replica", replica)) }
        if let container = options.container { query.append(("container", container)) }
        var request = request("GET", "/logs/\(Self.segment(name))", query: query)
        request.headers.replaceOrAdd(name: "Accept", value: "application/x-ndjson")
        let peer = peer
        let response = try await transport.open(request, timeout: Self.readTimeout, peer: peer)
        guard (200..<300).contains(response.status.code) else {
            throw peer.error(for: try await Reply(response, limit: Self.answerLimit, peer: peer))
        }
        let lines = LineReader(body: response.body, peer: peer)
        return AsyncThrowingStream { try await lines.next() }
    }
}

/// Cuts a body into the documents of an ndjson stream. Read by one task only, as the stream around it is.
private actor LineReader {
    private var iterator: HTTPClientResponse.Body.AsyncIterator?
    private var buffer = ByteBuffer()
    /// Bytes of `buffer` that are known to hold no line end.
    private var searched = 0
    private let peer: Peer

    /// A line with JSON escapes is longer than the log line in it.
    private static let lineLimit = Limits.logLine * 8 + 4096

    init(body: HTTPClientResponse.Body, peer: Peer) {
        self.iterator = body.makeAsyncIterator()
        self.peer = peer
    }

    func next() async throws -> LogLineDocument? {
        while let line = try await nextLine() {
            let text = Data(line)
            if text.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") }) { continue }
            guard let document = try? JSONDecoder().decode(LogLineDocument.self, from: text) else {
                throw PlatformError(
                    .connectionFailed,
                    "the log stream of \(peer.address) is not understood; compare both versions with: cortex version")
            }
            if let error = document.error {
                throw PlatformError(PlatformError.Code(kind: error.kind) ?? .internal, error.message)
            }
            return document
        }
        return nil
    }

    private func nextLine() async throws -> [UInt8]? {
        while true {
            let view = buffer.readableBytesView
            if let end = view.dropFirst(searched).firstIndex(of: UInt8(ascii: "\n")) {
                let line = buffer.readBytes(length: end - view.startIndex)
                buffer.moveReaderIndex(forwardBy: 1)
                searched = 0
                return line
            }
            searched = view.count
            guard searched <= Self.lineLimit else {
                throw PlatformError(.connectionFailed, "the log stream of \(peer.address) has a line without an end")
            }
            guard var part = try await nextPart() else {
                guard searched > 0 else { return nil }
                searched = 0
                return buffer.readBytes(length: buffer.readableBytes)
            }
            // Once a part, not once a line, because it moves the remaining bytes.
            buffer.discardReadBytes()
            buffer.writeBuffer(&part)
        }
    }

    private func nextPart() async throws -> ByteBuffer? {
        // Removed while it is used: an iterator serves one call at a time.
        guard var iterator else { return nil }
        self.iterator = nil
        do {
            let part = try await iterator.next(isolation: self)
            if part != nil { self.iterator = iterator }
            return part
        } catch {
            throw peer.error(for: error)
        }
    }
}
