import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import Wire

/// Handles the gateway's requests: finds the API, submits, reads or cancels.
final class GatewayRoutes: Sendable {
    let store: any Store
    let clock: any PlatformClock
    let makeID: @Sendable (Timestamp) -> RequestID
    let endpoints: Endpoints
    let waiting: WaitingCallers
    let errors: ErrorResponses
    /// Bytes of disk that submissions may still take.
    let spareDisk: @Sendable () -> Int64

    init(
        store: any Store, clock: any PlatformClock, makeID: @escaping @Sendable (Timestamp) -> RequestID,
        endpoints: Endpoints, waiting: WaitingCallers, errors: ErrorResponses,
        spareDisk: @escaping @Sendable () -> Int64
    ) {
        self.store = store
        self.clock = clock
        self.makeID = makeID
        self.endpoints = endpoints
        self.waiting = waiting
        self.errors = errors
        self.spareDisk = spareDisk
    }

    nonisolated(nonsending) func respond(to request: IncomingRequest, body: inout IncomingBody) async throws
        -> HTTPReply
    {
        var cors = Self.unknownCORS
        var isKnown = false
        // The answer to a preflight has headers of its own.
        var needsCORS = request.method != .OPTIONS
        var reply: HTTPReply
        do {
            let match = try await endpoints.find(request.path)
            isKnown = true
            switch match {
            case .requests(let api):
                cors = api.submitCORS
                if cors.forbids(request) { throw Self.foreignOrigin }
                reply = try await requests(of: api, request, &body)
            case .request(let api, let id):
                cors = api.requestCORS
                if cors.forbids(request) { throw Self.foreignOrigin }
                reply = try await self.request(id, of: api, request)
            }
        } catch {
            // A browser shows the error of the request itself only where its preflight succeeds (contract A8).
            let isAsking = !isKnown && CORS.isPreflight(request)
            needsCORS = !isAsking
            reply = .response(try isAsking ? cors.preflight(request) : errors.response(to: error))
        }
        // A status may change at any time, so no cache may keep it.
        var headers: HTTPHeaders = ["Cache-Control": "no-store"]
        if needsCORS { headers.add(contentsOf: cors.headers(for: request)) }
        reply.add(headers)
        return reply
    }

    /// `/<endpoint>`
    private nonisolated(nonsending) func requests(
        of api: Endpoint, _ request: IncomingRequest, _ body: inout IncomingBody
    ) async throws -> HTTPReply {
        switch request.method {
        case .POST: return try await submit(to: api, request, &body)
        case .OPTIONS: return .response(api.submitCORS.preflight(request))
        default: throw HTTPFault.methodNotAllowed(request.method, allowed: [.POST, .OPTIONS])
        }
    }

    /// `/<endpoint>/<id>`
    private nonisolated(nonsending) func request(
        _ text: String, of api: Endpoint, _ request: IncomingRequest
    ) async throws -> HTTPReply {
        switch request.method {
        case .GET, .HEAD: return try await read(id(text), of: api, request)
        case .DELETE: return .response(try await cancel(id(text), of: api))
        case .OPTIONS: return .response(api.requestCORS.preflight(request))
        default: throw HTTPFault.methodNotAllowed(request.method, allowed: [.GET, .HEAD, .DELETE, .OPTIONS])
        }
    }

    private func id(_ text: String) throws -> RequestID {
        guard let id = RequestID(text) else { throw Self.unknownRequest }
        return id
    }

    /// For paths at which no API is known.
    private static let unknownCORS = CORS(methods: [.GET, .HEAD, .POST, .DELETE])

    private static let foreignOrigin = PlatformError(
        .forbidden,
        "pages of this origin may not call this API. Add the origin to networking.cors.allow_origins in cortex.yaml")

    static let unknownRequest = PlatformError(
        .notFound, "this API has no such request: the id is wrong, or its result has expired")

    // MARK: Submit

    /// `POST /<endpoint>` (contract A1, A5, A6).
    nonisolated(nonsending) func submit(
        to api: Endpoint, _ request: IncomingRequest, _ body: inout IncomingBody
    ) async throws -> HTTPReply {
        // Everything that can be refused is refused before the body is asked for.
        try Payload.check(body.declaredLength, limit: api.requests.maxPayload, spareDisk: spareDisk())
        let headers = try HeaderFilter.endToEnd(request.headers)
        let wait = try WaitPreference.read(request)
        let key = try IdempotencyKey.read(request)
        var fingerprint = key.map { _ in
            Fingerprint(
                contentTypes: request.values("content-type"), query: WaitPreference.removed(from: request.query))
        }
        let payload = try await Payload.read(
            &body, limit: api.requests.maxPayload, into: store, spareDisk: spareDisk, fingerprint: &fingerprint)

        let now = clock.now()
        let id = makeID(now)
        let submission = Submission(
            id: id, api: api.name, payload: payload.body, headers: headers, query: request.query,
            idempotency: key.flatMap { key in
                fingerprint.map { Submission.Idempotency(key: key, fingerprint: $0.finish()) }
            },
            queueDeadline: api.requests.maxQueueTime.map { now + $0 })
        // Before the request is stored, so its end cannot be missed.
        let waitingCaller = wait.map { enter(id, api, $0, request.caller) }
        let result: SubmitResult
        do {
            result = try await store.submit(submission, maxQueueLength: api.requests.maxQueueLength, now: now)
        } catch {
            await payload.discard()
            throw error
        }
        if result != .accepted { await payload.discard() }
        switch result {
        case .accepted:
            guard let waitingCaller else { return .response(accepted(id, api)) }
            return .pending(waitingCaller)
        case .duplicate(let first):
            guard let wait else { return .response(accepted(first, api)) }
            return try await enter(first, api, wait, request.caller).reply()
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
        _ id: RequestID, _ api: Endpoint, _ wait: WaitPreference, _ caller: CallerPresence
    ) -> WaitingCaller {
        waiting.enter(
            id, api: api.name, within: wait.duration, caller: caller,
            form: AnswerForm(location: location(id, api), applied: wait.applied))
    }

    private func accepted(_ id: RequestID, _ api: Endpoint) -> OutgoingResponse {
        let text = id.description
        var document = ByteBuffer()
        document.reserveCapacity(48)
        document.writeStaticString("{\"id\":\"")
        document.writeString(text)
        document.writeStaticString("\"}\n")
        return .json(document, headers: ["Location": location(text, api)])
    }

    private func location(_ id: RequestID, _ api: Endpoint) -> String { location(id.description, api) }

    private func location(_ id: String, _ api: Endpoint) -> String {
        api.path == "/" ? "/\(id)" : "\(api.path)/\(id)"
    }

    // MARK: Read and cancel

    /// `GET /<endpoint>/<id>` (contract A2, A3, A5).
    nonisolated(nonsending) func read(_ id: RequestID, of api: Endpoint, _ request: IncomingRequest) async throws
        -> HTTPReply
    {
        let wait = try WaitPreference.read(request)
        let form = AnswerForm(
            verbose: try isVerbose(request), headersOnly: request.method == .HEAD, applied: wait?.applied)
        if let wait {
            return try await waiting.enter(
                id, api: api.name, within: wait.duration, caller: request.caller, form: form
            ).reply()
        }
        guard let record = try await store.read(id, api: api.name, now: clock.now()) else {
            throw Self.unknownRequest
        }
        return .response(try await form.response(record, from: store))
    }

    private func isVerbose(_ request: IncomingRequest) throws -> Bool {
        switch request.parameter("verbose") {
        case nil, "false", "0": false
        case "", "true", "1": true
        default: throw PlatformError(.badRequest, "verbose must be true or false")
        }
    }

    /// `DELETE /<endpoint>/<id>` (contract A7).
    func cancel(_ id: RequestID, of api: Endpoint) async throws -> OutgoingResponse {
        guard let (record, wasCancelled) = try await store.cancel(id, api: api.name, now: clock.now()) else {
            throw Self.unknownRequest
        }
        guard wasCancelled else {
            throw PlatformError(.conflict, "the request has already ended as \(record.status.rawValue)")
        }
        return try await RequestText(record).response(from: store, headersOnly: false)
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
        guard case .file(_, let size) = result, let result else {
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
