import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import Wire

/// Answers the requests to one AsyncAPI: submit, read, wait and cancel (contract A1–A9).
final class AsyncAPI: EndpointHandler {
    /// What all AsyncAPIs share.
    struct Services: Sendable {
        let store: any Store
        let clock: any PlatformClock
        let makeID: @Sendable (Timestamp) -> RequestID
        let waiting: WaitingCallers
        /// Bytes of disk that submissions may still take.
        let spareDisk: @Sendable () -> Int64
    }

    /// The paths of an AsyncAPI. One slash at the end of a path does not matter.
    enum Path: Sendable, Hashable {
        /// `/<endpoint>`
        case requests
        /// `/<endpoint>/<id>`. The text is decoded, and need not be an id.
        case request(String)

        /// `nil` for a path that an AsyncAPI does not have.
        init?(_ rest: Substring) {
            let slash = UInt8(ascii: "/")
            var rest = rest.utf8
            if rest.last == slash { rest.removeLast() }
            guard !rest.isEmpty else {
                self = .requests
                return
            }
            guard let text = PercentCoding.decode(Substring(rest.dropFirst())), !text.contains(byte: slash) else {
                return nil
            }
            self = .request(text)
        }
    }

    let name: String
    /// `/<endpoint>`
    let endpoint: String
    let policy: RequestPolicy
    let services: Services
    private let submitCORS: CORS
    private let requestCORS: CORS

    init(_ api: DeployedAPI, _ specification: AsyncSpecification, services: Services) {
        let networking = api.specification.networking
        self.name = api.name
        self.endpoint = networking.endpoint
        self.policy = specification.requests
        self.services = services
        self.submitCORS = CORS(allowedOrigins: networking.allowOrigins, methods: [.POST])
        self.requestCORS = CORS(allowedOrigins: networking.allowOrigins, methods: [.GET, .HEAD, .DELETE])
    }

    func serves(_ rest: Substring) -> Bool { Path(rest) != nil }

    func cors(_ rest: Substring) -> CORS { Path(rest) == .requests ? submitCORS : requestCORS }

    nonisolated(nonsending) func respond(
        to request: IncomingRequest, at rest: Substring, body: inout IncomingBody
    ) async throws -> HTTPReply {
        switch Path(rest) {
        case .requests:
            switch request.method {
            case .POST: return try await submit(request, &body)
            case .OPTIONS: return .response(submitCORS.preflight(request))
            default: throw HTTPFault.methodNotAllowed(request.method, allowed: [.POST, .OPTIONS])
            }
        case .request(let text):
            switch request.method {
            case .GET, .HEAD: return try await read(id(text), request)
            case .DELETE: return .response(try await cancel(id(text)))
            case .OPTIONS: return .response(requestCORS.preflight(request))
            default: throw HTTPFault.methodNotAllowed(request.method, allowed: [.GET, .HEAD, .DELETE, .OPTIONS])
            }
        case nil: throw GatewayRoutes.unknownPath
        }
    }

    private func id(_ text: String) throws -> RequestID {
        guard let id = RequestID(text) else { throw Self.unknownRequest }
        return id
    }

    static let unknownRequest = PlatformError(
        .notFound, "this API has no such request: the id is wrong, or its result has expired")

    // MARK: Submit

    /// `POST /<endpoint>` (contract A1, A5, A6).
    nonisolated(nonsending) func submit(
        _ request: IncomingRequest, _ body: inout IncomingBody
    ) async throws -> HTTPReply {
        // Everything that can be refused is refused before the body is asked for.
        try Payload.check(body.declaredLength, limit: policy.maxPayload, spareDisk: services.spareDisk())
        let headers = try HeaderFilter.endToEnd(request.headers)
        let wait = try WaitPreference.read(request)
        let key = try IdempotencyKey.read(request)
        var fingerprint = key.map { _ in
            Fingerprint(
                contentTypes: request.values("content-type"), query: WaitPreference.removed(from: request.query))
        }
        let payload = try await Payload.read(
            &body, limit: policy.maxPayload, into: services.store, spareDisk: services.spareDisk,
            fingerprint: &fingerprint)

        let now = services.clock.now()
        let id = services.makeID(now)
        let submission = Submission(
            id: id, api: name, payload: payload.body, headers: headers, query: request.query,
            idempotency: key.flatMap { key in
                fingerprint.map { Submission.Idempotency(key: key, fingerprint: $0.finish()) }
            },
            queueDeadline: policy.maxQueueTime.map { now + $0 })
        // Before the request is stored, so its end cannot be missed.
        let waitingCaller = wait.map { enter(id, $0, request.caller) }
        let result: SubmitResult
        do {
            result = try await services.store.submit(submission, maxQueueLength: policy.maxQueueLength, now: now)
        } catch {
            await payload.discard()
            throw error
        }
        if result != .accepted { await payload.discard() }
        switch result {
        case .accepted:
            guard let waitingCaller else { return .response(accepted(id)) }
            return .pending(waitingCaller)
        case .duplicate(let first):
            guard let wait else { return .response(accepted(first)) }
            return try await enter(first, wait, request.caller).reply()
        case .idempotencyMismatch:
            throw PlatformError(
                .idempotencyMismatch,
                "this Idempotency-Key was used for another body, content type or query. Use a new key for a new request"
            )
        case .queueFull:
            throw PlatformError(
                .queueFull, "the queue holds max_queue_length requests. Submit again when some are done")
        case .unknownAPI:
            throw PlatformError(.notFound, "the API at this path has just been deleted")
        }
    }

    /// A caller that waits for the request that it submitted.
    private func enter(
        _ id: RequestID, _ wait: WaitPreference, _ caller: CallerPresence
    ) -> WaitingCaller {
        services.waiting.enter(
            id, api: name, within: wait.duration, caller: caller,
            form: AnswerForm(location: location(id.description), applied: wait.applied))
    }

    private func accepted(_ id: RequestID) -> OutgoingResponse {
        let text = id.description
        var document = ByteBuffer()
        document.reserveCapacity(48)
        document.writeStaticString("{\"id\":\"")
        document.writeString(text)
        document.writeStaticString("\"}\n")
        return .json(document, headers: ["Location": location(text)])
    }

    private func location(_ id: String) -> String {
        endpoint == "/" ? "/\(id)" : "\(endpoint)/\(id)"
    }

    // MARK: Read and cancel

    /// `GET /<endpoint>/<id>` (contract A2, A3, A5).
    nonisolated(nonsending) func read(_ id: RequestID, _ request: IncomingRequest) async throws
        -> HTTPReply
    {
        let wait = try WaitPreference.read(request)
        let form = AnswerForm(
            verbose: try isVerbose(request), headersOnly: request.method == .HEAD, applied: wait?.applied)
        if let wait {
            return try await services.waiting.enter(
                id, api: name, within: wait.duration, caller: request.caller, form: form
            ).reply()
        }
        guard let record = try await services.store.read(id, api: name, now: services.clock.now()) else {
            throw Self.unknownRequest
        }
        return .response(try await form.response(record, from: services.store))
    }

    private func isVerbose(_ request: IncomingRequest) throws -> Bool {
        switch request.parameter("verbose") {
        case nil, "false", "0": false
        case "", "true", "1": true
        default: throw PlatformError(.badRequest, "verbose must be true or false")
        }
    }

    /// `DELETE /<endpoint>/<id>` (contract A7).
    func cancel(_ id: RequestID) async throws -> OutgoingResponse {
        let now = services.clock.now()
        guard let (record, wasCancelled) = try await services.store.cancel(id, api: name, now: now) else {
            throw Self.unknownRequest
        }
        guard wasCancelled else {
            throw PlatformError(.conflict, "the request has already ended as \(record.status.rawValue)")
        }
        return try await RequestText(record).response(from: services.store, headersOnly: false)
    }
}

/// What an answer with a request's document contains besides the request.
struct AnswerForm: Sendable {
    /// Whether the failures of all attempts are included.
    var verbose = false
    var headersOnly = false
    /// `Location`, in the answer to a submission.
    var location: String?
    /// `Preference-Applied`, where the caller asked to wait by a preference.
    var applied: String?

    /// The document of the request, with the result verbatim.
    ///
    /// - Throws: ``PlatformError`` `not_found` where the result was erased since the record was read.
    nonisolated(nonsending) func response(_ record: RequestRecord, from store: any Store) async throws
        -> OutgoingResponse
    {
        var response = try await RequestText(record, verbose: verbose).response(
            from: store, headersOnly: headersOnly)
        if let location { response.headers.add(name: "Location", value: location) }
        if let applied { response.headers.add(name: "Preference-Applied", value: applied) }
        return response
    }
}

extension RequestText {
    /// The document as an answer; a large result is streamed from the store.
    ///
    /// - Throws: ``PlatformError`` `not_found` where the result was erased since the record was read.
    nonisolated(nonsending) func response(from store: any Store, headersOnly: Bool) async throws -> OutgoingResponse {
        guard case .stored(_, let size) = result, let result else {
            var document = ByteBuffer()
            document.reserveCapacity(head.count + tail.count + Int(result?.size ?? 0))
            document.writeBytes(head)
            if case .inline(let bytes) = result { document.writeBytes(bytes) }
            document.writeBytes(tail)
            return .json(document)
        }
        let length = Int64(head.count) + size + Int64(tail.count)
        // Opened before the status is sent: an erased result is a 404, not a broken answer.
        let reader = try await store.reader(of: result)
        guard !headersOnly else {
            await reader.close()
            return OutgoingResponse(
                status: .ok, headers: ["Content-Type": "application/json"],
                body: .stream(length: length, write: { _ in }))
        }
        let streaming = ResultStream(head: head, reader: reader, size: size, tail: tail)
        return OutgoingResponse(
            status: .ok, headers: ["Content-Type": "application/json"],
            body: .stream(length: length, write: { try await streaming.write(to: $0) }))
    }
}

/// A document whose result comes from a file, a piece at a time.
private struct ResultStream: Sendable {
    let head: [UInt8]
    let reader: any BodyReader
    let size: Int64
    let tail: [UInt8]

    func write(to body: OutgoingBody) async throws {
        do {
            try await body.write(head)
            var sent: Int64 = 0
            while let bytes = try await reader.read(upTo: Limits.bodyPiece) {
                sent += Int64(bytes.count)
                try await body.write(bytes)
            }
            guard sent == size else {
                throw PlatformError(.internal, "a stored result has \(sent) bytes instead of \(size)")
            }
            try await body.write(tail)
        } catch {
            await reader.close()
            throw error
        }
        await reader.close()
    }
}
