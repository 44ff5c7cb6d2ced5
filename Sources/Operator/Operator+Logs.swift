import Core
import HTTPTypes
import Hummingbird
import NIOCore
import ServiceLifecycle

extension Operator {
    /// `GET /logs/{api}`: lines of all replicas as newline-delimited JSON (contract O4).
    ///
    /// With `follow` it ends when the client leaves or the platform stops.
    func logs(of name: String, query: QueryParameters, request: Request) async throws -> Response {
        let options = LogOptions(
            follow: try query.bool("follow"), tail: try query.integer("tail", in: 0...1_000_000),
            replica: try query.text("replica"), container: try query.text("container"))
        let api = try await deployedAPI(name)
        let status = await orchestrator.status(api: name)
        try check(options, api: api, status: status)
        let lines = try await orchestrator.logs(api: name, options: options)
        var notices: [LogLineDocument] = []
        if status?.replicas.isEmpty ?? true {
            let reason = status?.reason.map { ": \($0)" } ?? ""
            notices.append(
                LogLineDocument(notice: "\(name) has no replica now, \(status?.requested ?? 0) wanted\(reason)"))
        }
        let body = request.body
        let shown = notices
        return Response(
            status: .ok, headers: [.contentType: "application/x-ndjson", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                try await stream(lines, notices: shown, follow: options.follow, until: body, to: &writer)
                try await writer.finish(nil)
            })
    }

    private func check(_ options: LogOptions, api: DeployedAPI, status: APIStatus?) throws {
        let containers = api.specification.pod.containers.map(\.name)
        if let container = options.container, !containers.contains(container) {
            throw PlatformError(
                .notFound,
                "\(api.name) has no container \(container.shown): it has \(containers.joined(separator: ", "))")
        }
        let replicas = status?.replicas.map(\.id) ?? []
        if let replica = options.replica, !replicas.contains(replica) {
            throw PlatformError(
                .notFound,
                "\(api.name) has no replica \(replica.shown): see cortex describe \(api.name) for those there are")
        }
    }

    private func stream(
        _ lines: AsyncThrowingStream<ReplicaLogLine, any Error>, notices: [LogLineDocument], follow: Bool,
        until body: RequestBody, to writer: inout any ResponseBodyWriter
    ) async throws {
        let pipe = LinePipe()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for notice in notices { await pipe.write(Self.encoded(notice)) }
                do {
                    for try await line in lines { await pipe.write(Self.encoded(LogLineDocument(line))) }
                } catch is CancellationError {
                    // The reader is gone or the platform stops: nobody is left to be told.
                } catch {
                    let error = PlatformError(wrapping: error)
                    self.logger.warning("log stream broke off", metadata: ["error": "\(error)"])
                    await pipe.write(Self.encoded(LogLineDocument(error: error)))
                }
                pipe.finish()
            }
            if follow {
                group.addTask {
                    while (try? await self.clock.sleep(for: self.configuration.heartbeat)) != nil { pipe.heartbeat() }
                }
            }
            defer { group.cancelAll() }
            try await withTaskCancellationOrGracefulShutdownHandler {
                guard follow else { return try await Self.drain(pipe, to: &writer) }
                // The only way to notice on a quiet log that the client has left.
                try await body.consumeWithInboundCloseHandler { _ in
                    try await Self.drain(pipe, to: &writer)
                } onInboundClosed: {
                    pipe.finish()
                }
            } onCancelOrGracefulShutdown: {
                pipe.finish()
            }
        }
    }

    private static func drain(_ pipe: LinePipe, to writer: inout any ResponseBodyWriter) async throws {
        defer { pipe.finish() }
        while let bytes = await pipe.next() { try await writer.write(ByteBuffer(bytes: bytes)) }
    }

    private static func encoded(_ document: LogLineDocument) -> [UInt8] {
        // A document of texts always encodes; were it not so, an empty line is a heartbeat.
        ((try? JSONCoding.encode(document)) ?? []) + [UInt8(ascii: "\n")]
    }
}
