import Core
import HTTPServing
import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle

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
        let status = await orchestrator.status(api: name)
        try check(options, api: api, status: status)
        var response = OutgoingResponse(
            status: .ok, headers: ["Content-Type": "application/x-ndjson", "Cache-Control": "no-store"])
        guard request.method != .HEAD else { return response }
        let lines = try await orchestrator.logs(api: name, options: options)
        let notice = Self.notice(api: name, status: status)
        response.body = .stream(length: nil) { outbound in
            try await stream(lines, notice: notice, follow: options.follow, caller: request.caller, to: outbound)
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
        _ lines: AsyncThrowingStream<ReplicaLogLine, any Error>, notice: LogLineDocument?, follow: Bool,
        caller: CallerPresence, to outbound: OutgoingBody
    ) async throws {
        let pipe = LinePipe()
        let presence = caller.onGone { pipe.finish() }
        defer { caller.forget(presence) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                await fill(pipe, from: lines, notice: notice)
                pipe.finish()
            }
            if follow {
                group.addTask {
                    while (try? await clock.sleep(for: configuration.heartbeat)) != nil { pipe.heartbeat() }
                }
            }
            try await withTaskCancellationOrGracefulShutdownHandler {
                defer { pipe.finish() }
                while let bytes = await pipe.next() { try await outbound.write(bytes) }
            } onCancelOrGracefulShutdown: {
                // A log that is read to its end is; one that is followed has none.
                if follow { pipe.finish() }
            }
        }
    }

    private func fill(
        _ pipe: LinePipe, from lines: AsyncThrowingStream<ReplicaLogLine, any Error>, notice: LogLineDocument?
    ) async {
        do {
            if let notice { await pipe.write(try Self.line(notice)) }
            for try await line in lines { await pipe.write(try Self.line(LogLineDocument(line))) }
        } catch is CancellationError {
            // The reader is gone or the platform stops: nobody is left to be told.
        } catch {
            let error = PlatformError(wrapping: error)
            logger.warning("log stream broke off", metadata: ["error": "\(error)"])
            if let line = try? Self.line(LogLineDocument(error: error)) { await pipe.write(line) }
        }
    }

    private static func line(_ document: LogLineDocument) throws -> [UInt8] {
        try JSONCoding.encode(document) + [UInt8(ascii: "\n")]
    }
}
