import HTTPServing
import NIOHTTP1

/// A caller's wait for a request to end, and what is to be known to answer it then (contract A5).
final class PendingDocument: PendingReply {
    /// What the answer is made of besides the request.
    struct Form: Sendable {
        /// Whether the failures of all attempts are included.
        var verbose = false
        var headersOnly = false
        /// `Location`, in the answer to a submission.
        var location: String?
        /// `Preference-Applied`, where the wish to wait came as a preference.
        var applied: String?
    }

    private let poll: LongPoll
    private let form: Form
    private let routes: GatewayRoutes
    /// Of the whole answer, whatever it is: see ``GatewayRoutes/respond(to:body:)``.
    private let headers: HTTPHeaders

    init(_ poll: LongPoll, _ form: Form, routes: GatewayRoutes, headers: HTTPHeaders) {
        self.poll = poll
        self.form = form
        self.routes = routes
        self.headers = headers
    }

    func whenReady(_ action: @escaping @Sendable () -> Void) {
        poll.whenReady(action)
    }

    nonisolated(nonsending) func reply() async throws -> HTTPReply {
        var response: OutgoingResponse
        do {
            guard let document = try await routes.document(poll, form) else { return .pending(self) }
            response = document
        } catch {
            response = try routes.errors.response(to: error)
        }
        response.headers.add(contentsOf: headers)
        return .response(response)
    }
}
