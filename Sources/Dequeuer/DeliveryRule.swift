import ContainerHTTP
import Core
import NIOHTTP1

/// How the requests of a queue are delivered and judged. It is decided once for each replica.
enum DeliveryRule: Sendable, Hashable {
    /// Requests of an AsyncAPI (contract A, C).
    case async
    /// Batches of a job (contract B5–B8), and the call after the last one (B11).
    case batch(job: String)

    /// The body of the call after the last batch.
    static let completionBody = Array(#"{"message":"job_complete"}"#.utf8)

    init(_ replica: ReadyReplica) {
        self = replica.worker.map { .batch(job: $0.jobID) } ?? .async
    }

    /// A claimed request with the body that is sent.
    func prepared(_ request: ClaimedRequest) -> ClaimedRequest {
        guard request.batch?.isCompletion == true else { return request }
        var request = request
        request.payload = .inline(Self.completionBody)
        return request
    }

    /// The head of the request that the container gets.
    func head(of request: ClaimedRequest, port: Int) -> HTTPRequestHead {
        guard case .batch(let job) = self, let place = request.batch else {
            return ContainerRequest.head(for: request, port: port)
        }
        var headers = HTTPHeaders()
        headers.reserveCapacity(8)
        headers.add(name: "Host", value: "localhost:\(port)")
        headers.add(name: "Content-Type", value: "application/json")
        headers.add(name: "Content-Length", value: String(request.payload.size))
        headers.add(name: "X-Cortex-Job-ID", value: job)
        guard !place.isCompletion else {
            return HTTPRequestHead(version: .http1_1, method: .POST, uri: "/on-job-complete", headers: headers)
        }
        headers.add(name: "X-Cortex-Request-ID", value: request.id.description)
        headers.add(name: "X-Cortex-Batch-Index", value: String(place.index))
        headers.add(name: "X-Cortex-Item-Index", value: String(place.items.first ?? 0))
        headers.add(name: "X-Cortex-Attempt", value: String(request.attempts + 1))
        return HTTPRequestHead(version: .http1_1, method: .POST, uri: "/", headers: headers)
    }

    /// What follows from the head of an answer alone.
    func verdict(
        of answer: AnswerHead, _ head: HTTPResponseHead, to request: ClaimedRequest, maxResult: Int64
    ) -> Verdict.OfHead {
        guard case .batch = self, let place = request.batch else { return Verdict.of(answer, maxResult: maxResult) }
        let fields = BatchVerdict.Fields(
            failedItems: head.headers["X-Cortex-Failed-Items"], results: head.headers["X-Cortex-Results"])
        return BatchVerdict.of(answer, fields, place: place, maxResult: maxResult)
    }

    /// An answer that is not HTTP/1.1, or not within its limits.
    func unreadable(_ reason: String) -> RequestFailure {
        switch self {
        case .async: Verdict.unreadable(reason)
        case .batch: BatchVerdict.unreadable(reason)
        }
    }
}
