package import NIOCore
package import NIOHTTP1

/// An answer. `Content-Length`, `Transfer-Encoding`, `Connection` and `Date` are added when it is sent.
package struct OutgoingResponse: Sendable {
    /// What follows the head.
    package enum Body: Sendable {
        case empty
        case bytes(ByteBuffer)
        /// Written as it is made. With a `length`, exactly that many bytes must come.
        case stream(length: Int64?, write: @Sendable (OutgoingBody) async throws -> Void)
    }

    package var status: HTTPResponseStatus
    package var headers: HTTPHeaders
    package var body: Body

    package init(status: HTTPResponseStatus, headers: HTTPHeaders = [:], body: Body = .empty) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// A JSON document that is ready.
    package static func json(
        _ document: ByteBuffer, status: HTTPResponseStatus = .ok, headers: HTTPHeaders = [:]
    ) -> OutgoingResponse {
        var headers = headers
        headers.add(name: "Content-Type", value: "application/json")
        return OutgoingResponse(status: status, headers: headers, body: .bytes(document))
    }

    /// A JSON document that is ready.
    package static func json(
        _ document: some Collection<UInt8>, status: HTTPResponseStatus = .ok, headers: HTTPHeaders = [:]
    ) -> OutgoingResponse {
        json(ByteBuffer(bytes: document), status: status, headers: headers)
    }
}

/// Where a streamed answer goes; one task at a time.
package struct OutgoingBody: Sendable {
    let stream: ConnectionStream

    /// Sends bytes; returns when the caller can take more.
    ///
    /// - Throws: when the caller has gone.
    package func write(_ bytes: ByteBuffer) async throws {
        guard bytes.readableBytes > 0 else { return }
        try await stream.write(.body(.byteBuffer(bytes)))
    }

    package func write(_ bytes: some Collection<UInt8> & Sendable) async throws {
        try await write(ByteBuffer(bytes: bytes))
    }

    /// Closes the connection at once: for a caller that takes nothing more. A write that waits for the caller fails.
    /// Safe from any task.
    package func close() {
        stream.channel.close(promise: nil)
    }
}
