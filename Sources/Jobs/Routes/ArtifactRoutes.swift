import Core
import HTTPServing
import NIOHTTP1
import Wire

/// The artifacts of a Task job (contract T6).
extension JobRoutes {
    /// `GET …/artifacts`.
    func artifacts(_ job: Job, _ request: IncomingRequest) async throws -> OutgoingResponse {
        let files = try await files(of: job, attempt: attempt(request))
        var kept: [ArtifactListDocument.Artifact] = []
        var omitted: [ArtifactListDocument.Omitted] = []
        for file in files {
            switch file.content {
            case .kept(let body, let digest):
                kept.append(
                    .init(
                        worker: file.worker, attempt: file.attempt, path: file.path, size: body.size,
                        sha256: Self.hex(digest)))
            case .omitted(let reason):
                omitted.append(
                    .init(worker: file.worker, attempt: file.attempt, path: file.path, reason: reason))
            }
        }
        return try await JobTexts.response(
            ArtifactListDocument(artifacts: kept, omitted: omitted), store: services.store,
            headersOnly: request.method == .HEAD)
    }

    /// `GET …/artifacts/<worker>/<path>`.
    func artifact(_ job: Job, worker: String, path: String, _ request: IncomingRequest) async throws -> OutgoingResponse
    {
        let files = try await files(of: job, attempt: attempt(request))
        guard let file = files.first(where: { "\($0.worker)" == worker && $0.path.utf8.elementsEqual(path.utf8) }),
            case .kept(let body, let digest) = file.content
        else { throw PlatformError(.notFound, "the job has no such artifact") }
        let tag = "\"\(Self.hex(digest))\""
        var headers: HTTPHeaders = [
            "Content-Type": "application/octet-stream", "ETag": tag, "Accept-Ranges": "bytes",
            // What a container wrote must not run as a page of this origin.
            "X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment",
        ]
        if request.values("if-none-match").contains(where: { $0 == tag || $0 == "*" }) {
            return OutgoingResponse(status: .notModified, headers: headers)
        }
        var range = 0..<body.size
        var status = HTTPResponseStatus.ok
        let mayBePart = request.header("if-range").map { $0 == tag } ?? true
        if request.method == .GET, mayBePart, let text = request.header("range") {
            switch ByteRange.read(text, size: body.size) {
            case .whole: break
            case .part(let part):
                range = part
                status = .partialContent
                headers.add(
                    name: "Content-Range", value: "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(body.size)")
            case .unsatisfiable:
                throw HTTPFault(
                    PlatformError(.badRequest, "the range is not in the artifact, which has \(body.size) bytes"),
                    status: .rangeNotSatisfiable, headers: ["Content-Range": "bytes */\(body.size)"])
            }
        }
        let length = range.upperBound - range.lowerBound
        guard request.method == .GET else {
            return OutgoingResponse(status: status, headers: headers, body: .stream(length: length, write: { _ in }))
        }
        let reader = try await services.store.reader(of: body)
        return OutgoingResponse(
            status: status, headers: headers,
            body: .stream(length: length, write: { [range] in try await Self.send(reader, range, to: $0) }))
    }

    /// `GET …/artifacts.tar`.
    func archive(_ job: Job, _ request: IncomingRequest) async throws -> OutgoingResponse {
        let files = try await files(of: job, attempt: attempt(request)).compactMap { file -> (String, Body)? in
            guard case .kept(let body, _) = file.content else { return nil }
            return ("\(file.worker)/\(file.path)", body)
        }
        let headers: HTTPHeaders = [
            "Content-Type": "application/x-tar",
            "Content-Disposition": "attachment; filename=\"artifacts-\(job.id).tar\"",
        ]
        let length = files.reduce(Int64(TarArchive.end.count)) { $0 + TarArchive.length(path: $1.0, size: $1.1.size) }
        guard request.method == .GET else {
            return OutgoingResponse(status: .ok, headers: headers, body: .stream(length: length, write: { _ in }))
        }
        let modified = (job.endedAt ?? job.createdAt).seconds
        let store = services.store
        return OutgoingResponse(
            status: .ok, headers: headers,
            body: .stream(
                length: length,
                write: { out in
                    for (path, body) in files {
                        try await out.write(TarArchive.header(path: path, size: body.size, modified: modified))
                        try await Self.send(try await store.reader(of: body), 0..<body.size, to: out)
                        try await out.write(TarArchive.padding(after: body.size))
                    }
                    try await out.write(TarArchive.end)
                }))
    }

    /// The artifacts of the last attempt of each worker that has ended, or of one attempt, sorted by worker and path.
    private func files(of job: Job, attempt: Int?) async throws -> [JobFile] {
        let all = try await services.store.files(of: job.id, kind: .artifact)
        if let attempt { return all.filter { $0.attempt == attempt } }
        let runs = try await services.store.runs(of: job.id, limit: .max)
        var last: [Int: Int] = [:]
        for run in runs where run.status.isEnded { last[run.worker] = max(last[run.worker] ?? 0, run.attempt) }
        return all.filter { $0.attempt == last[$0.worker] }
    }

    private func attempt(_ request: IncomingRequest) throws -> Int? {
        guard let text = request.parameter("attempt") else { return nil }
        guard let attempt = Int(text), (1...1_000_000).contains(attempt) else {
            throw PlatformError(.badRequest, "attempt must be an integer from 1 to 1000000")
        }
        return attempt
    }

    private static func send(_ reader: any BodyReader, _ range: Range<Int64>, to body: OutgoingBody) async throws {
        do {
            var position: Int64 = 0
            while position < range.upperBound, let piece = try await reader.read(upTo: Limits.bodyPiece) {
                let start = max(0, range.lowerBound - position)
                let end = min(Int64(piece.count), range.upperBound - position)
                if start < end { try await body.write(Array(piece[Int(start)..<Int(end)])) }
                position += Int64(piece.count)
            }
            guard position >= range.upperBound else {
                throw PlatformError(.internal, "a stored artifact is shorter than its size")
            }
        } catch {
            await reader.close()
            throw error
        }
        await reader.close()
    }

    private static func hex(_ digest: [UInt8]) -> String {
        digest.map { byte in
            let text = String(byte, radix: 16)
            return byte < 16 ? "0\(text)" : text
        }.joined()
    }
}

/// `Range` with one range of bytes (RFC 9110 §14.2). Several ranges, and what is malformed, are ignored, as is allowed.
enum ByteRange: Hashable {
    case whole
    case part(Range<Int64>)
    case unsatisfiable

    static func read(_ text: String, size: Int64) -> ByteRange {
        guard text.hasPrefix("bytes="), !text.contains(",") else { return .whole }
        let parts = text.dropFirst(6).split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return .whole }
        func number(_ text: Substring) -> Int64? {
            !text.isEmpty && text.utf8.allSatisfy { (48...57).contains($0) } ? Int64(text) ?? .max : nil
        }
        switch (parts[0].isEmpty, number(parts[0]), parts[1].isEmpty, number(parts[1])) {
        case (true, _, false, let count?):
            guard count > 0, size > 0 else { return .unsatisfiable }
            return .part(max(0, size - count)..<size)
        case (false, let first?, true, _):
            return first < size ? .part(first..<size) : .unsatisfiable
        case (false, let first?, false, let last?):
            guard first <= last else { return .whole }
            return first < size ? .part(first..<min(size, last == .max ? size : last + 1)) : .unsatisfiable
        default: return .whole
        }
    }
}
