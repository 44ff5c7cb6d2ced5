import Core
import HTTPServing
import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Support
import Wire

extension Operator {
    /// `GET /logs/{api}`: lines of all replicas as newline-delimited JSON (contract O4).
    ///
    /// With `follow` it ends when the client leaves or the platform stops.
    func logs(of name: String, _ request: IncomingRequest) async throws -> OutgoingResponse {
        let query = try QueryParameters(request)
        let options = LogOptions(
            follow: try query.bool("follow"), tail: try query.integer("tail", in: 0...1_000_000),
            replica: try query.text("replica"), container: try query.text("container"))
        let api = try await deployedAPI(name)
        if let lines = try await jobLines(of: api, query) {
            return answer(lines, notice: nil, follow: options.follow, request)
        }
        try api.specification.requireReplicas(for: "cortex logs")
        let status = await orchestrator.status(api: name)
        try check(options, api: api, status: status)
        let lines = try await orchestrator.logs(api: name, options: options)
        return answer(lines, notice: Self.notice(api: name, status: status), follow: options.follow, request)
    }

    private func answer(
        _ lines: LogStream<ReplicaLogBatch>, notice: LogLineDocument?, follow: Bool, _ request: IncomingRequest
    ) -> OutgoingResponse {
        var response = OutgoingResponse(
            status: .ok, headers: ["Content-Type": "application/x-ndjson", "Cache-Control": "no-store"])
        guard request.method != .HEAD else { return response }
        response.body = .stream(length: nil) { outbound in
            try await stream(lines, notice: notice, follow: follow, caller: request.caller, to: outbound)
        }
        return response
    }

    private func check(_ options: LogOptions, api: DeployedAPI, status: APIStatus?) throws {
        let containers = api.specification.pod.containers.map(\.name)
        if let container = options.container, !containers.contains(container) {
            throw PlatformError(
                .notFound,
                "\(api.name) has no container \(container.shown): it has \(containers.joined(separator: ", "))")
        }
        if let replica = options.replica, status?.replicas.contains(where: { $0.id == replica }) != true {
            throw PlatformError(
                .notFound,
                "\(api.name) has no replica \(replica.shown): see cortex describe \(api.name) for those there are")
        }
    }

    private static func notice(api name: String, status: APIStatus?) -> LogLineDocument? {
        guard status?.replicas.isEmpty ?? true else { return nil }
        let reason = status?.reason.map { ": \($0)" } ?? ""
        return LogLineDocument(notice: "\(name) has no replica now, \(status?.requested ?? 0) wanted\(reason)")
    }

    private func stream(
        _ lines: LogStream<ReplicaLogBatch>, notice: LogLineDocument?, follow: Bool,
        caller: CallerPresence, to outbound: OutgoingBody
    ) async throws {
        let pipe = LinePipe()
        // The reader left: nothing more is read for it. One that has only closed its sending side may still read a log
        // that has an end.
        let presence = follow ? caller.onEndOfInput { pipe.finish() } : caller.onGone { pipe.finish() }
        defer { caller.forget(presence) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer {
                pipe.finish()
                group.cancelAll()
            }
            group.addTask {
                await fill(pipe, from: lines, notice: notice)
                pipe.finish()
            }
            group.addTask { await endAtShutdown(pipe, follow: follow, outbound) }
            if follow {
                group.addTask {
                    while (try? await clock.sleep(for: configuration.heartbeat)) != nil { pipe.heartbeat() }
                }
            }
            try await withTaskCancellationHandler {
                while let bytes = await pipe.next() { try await outbound.write(bytes) }
            } onCancel: {
                pipe.finish()
            }
        }
    }

    /// Ends a log that is followed when the platform stops, and cuts off a reader that takes nothing more.
    private func endAtShutdown(_ pipe: LinePipe, follow: Bool, _ outbound: OutgoingBody) async {
        do {
            try await gracefulShutdown()
            // Only a log that is not followed ends by itself.
            if follow { pipe.finish() }
            var taken = -1
            while pipe.taken != taken {
                taken = pipe.taken
                try await clock.sleep(for: Limits.logDrain)
            }
            outbound.close()
        } catch {
            // Cancelled: the log has ended.
        }
    }

    private func fill(_ pipe: LinePipe, from lines: LogStream<ReplicaLogBatch>, notice: LogLineDocument?) async {
        do {
            if let notice { try await pipe.write(try Self.line(notice)) }
            try await lines.read { batch in
                var encoder = LogBatchEncoder(batch)
                while !encoder.isAtEnd {
                    // One reader at a time, so that any number of them leaves time for other work.
                    let bytes = try await logWork.run(["logs"]) { encoder.next(upTo: Limits.logBlock) }
                    try await pipe.write(bytes)
                }
            }
        } catch is CancellationError {
            // The reader has left, or the platform stops.
        } catch {
            let error = PlatformError(wrapping: error)
            logger.warning("log stream broke off", metadata: ["error": "\(error)"])
            if let line = try? Self.line(LogLineDocument(error: error)) { try? await pipe.write(line) }
        }
    }

    private static func line(_ document: LogLineDocument) throws -> ByteBuffer {
        ByteBuffer(bytes: try DocumentCoding.encode(document) + [UInt8(ascii: "\n")])
    }
}

/// Writes the lines of a batch as ``LogLineDocument``s, some at a time.
struct LogBatchEncoder: Sendable {
    private let lines: [UInt8]
    private let prefix: [UInt8]
    private let suffix: [UInt8]
    private var position = 0

    init(_ batch: ReplicaLogBatch) {
        self.lines = batch.lines
        let worker = batch.worker
        var prefix = Array((worker.map { #"{"attempt":\#($0.attempt),"container":""# } ?? #"{"container":""#).utf8)
        Self.escape(Array(batch.container.utf8)[...], into: &prefix)
        prefix += Array(#"","replica":""#.utf8)
        Self.escape(Array(batch.replica.utf8)[...], into: &prefix)
        self.prefix = prefix + Array(#"","text":""#.utf8)
        self.suffix = Array((worker.map { #"","worker":\#($0.index)}"# } ?? "\"}").utf8) + [UInt8(ascii: "\n")]
    }

    var isAtEnd: Bool { position >= lines.count }

    /// The documents of the next lines: as many as reach `limit` bytes, but at least one.
    mutating func next(upTo limit: Int) -> ByteBuffer {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(limit + 1024)
        while position < lines.count, bytes.count < limit {
            let rest = lines[position...]
            let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? rest.endIndex
            bytes += prefix
            Self.escape(rest[..<end], into: &bytes)
            bytes += suffix
            position = end + 1
        }
        return ByteBuffer(bytes: bytes)
    }

    private static let digits = Array("0123456789abcdef".utf8)

    private static func escape(_ text: ArraySlice<UInt8>, into bytes: inout [UInt8]) {
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0x20...: bytes.append(byte)
            case UInt8(ascii: "\t"): bytes += Array(#"\t"#.utf8)
            case UInt8(ascii: "\r"): bytes += Array(#"\r"#.utf8)
            case UInt8(ascii: "\n"): bytes += Array(#"\n"#.utf8)
            default: bytes += Array(#"\u00"#.utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
    }
}
