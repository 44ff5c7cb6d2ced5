import Access
import Core
import HTTPServing
import NIOHTTP1

extension Operator {
    /// An API's requests (contract O3).
    static let requestRoutes: [OperatorRoute] = [
        OperatorRoute(
            .GET, "/requests/{api}", .listRequests,
            OpenAPIOperation(
                id: "listRequests", summary: "An API's requests, newest first, a page at a time.",
                query: [
                    OpenAPIOperation.Parameter(
                        name: "status", description: "Only requests with this status.",
                        schema: OpenAPISchemas.words(RequestStatus.allCases.map(\.rawValue))),
                    OpenAPIOperation.Parameter(
                        name: "before", description: "Only requests older than this one: `next` of the page before.",
                        schema: OpenAPISchemas.requestID),
                    OpenAPIOperation.Parameter(
                        name: "limit", description: "At most this many.",
                        schema: [
                            "type": "integer", "minimum": 1, "maximum": .integer(Int64(Limits.listPage)),
                            "default": 100,
                        ]),
                ], answer: OpenAPIOperation.json("RequestList"))
        ) { this, call, _ in
            try json(try await this.requests(of: call.api, try QueryParameters(call.request)))
        },
        OperatorRoute(
            .POST, "/retry/{api}/{id}", .retryRequest,
            OpenAPIOperation(
                id: "retryRequest", summary: "Puts a failed request back into the queue.",
                answer: OpenAPIOperation.json("Request"),
                errors: [409: "It has not failed, or its payload is no longer kept."])
        ) { this, call, _ in
            try json(try await this.retry(call.parameters["id"] ?? "", of: call.api))
        },
    ]
}
