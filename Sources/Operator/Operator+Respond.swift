import Core
import HTTPTypes
import Hummingbird
import NIOCore

extension Operator {
    static let versionHeader = HTTPField.Name("CortexAPIVersion")
    static let authorizationHeader = HTTPField.Name("X-Cortex-Authorization")

    /// Answers a request; every error becomes an error document (contract A4).
    package func respond(to request: Request) async -> Response {
        do {
            let response = try await answer(request)
            return request.method == .head ? response.createHeadResponse() : response
        } catch let rejected as ConfigurationRejected {
            let document = ErrorDocument(
                PlatformError(.configurationInvalid, rejected.message), problems: rejected.problems)
            return Self.response(document, status: .badRequest)
        } catch let wrongMethod as WrongMethod {
            let allowed = wrongMethod.allowed.joined(separator: ", ")
            let error = PlatformError(.methodNotAllowed, "this path takes \(allowed), not \(request.method.rawValue)")
            return Self.response(error, headers: [.allow: allowed])
        } catch {
            let error = PlatformError(wrapping: error)
            let response = Self.response(error)
            if response.status.code >= 500 {
                logger.error(
                    "request failed",
                    metadata: ["method": "\(request.method)", "path": "\(request.uri.path)", "error": "\(error)"])
            }
            return response
        }
    }

    private struct WrongMethod: Error {
        var allowed: [String]
    }

    private func answer(_ request: Request) async throws -> Response {
        let route: OperatorRoute
        switch OperatorRoute.match(method: request.method.rawValue, path: request.uri.path) {
        case .found(let found): route = found
        case .wrongMethod(let allowed): throw WrongMethod(allowed: allowed)
        case .unknown:
            throw PlatformError(
                .notFound, "the operator has no path \(request.uri.path.shown); requests for APIs go to the gateway")
        }
        if route.checksVersion, let name = Self.versionHeader { try VersionCheck.check(client: request.headers[name]) }
        if !route.isOpen { try authenticate(request) }
        return try await answer(route, request: request, query: try QueryParameters(request.uri.query))
    }

    private func answer(_ route: OperatorRoute, request: Request, query: QueryParameters) async throws -> Response {
        let addresses = configuration.addresses().reachable(from: request.head.authority ?? request.headers[.host])
        switch route {
        case .health: return Self.response(["status": "ok"])
        case .readiness: return await readiness()
        case .verify: return Self.response([String: String]())
        case .info: return Self.response(try await info(addresses))
        case .deploy: return Self.response(try await deploy(request, query: query, addresses: addresses))
        case .refresh(let api):
            let version = try await deployments.refresh(api: api, force: try query.bool("force"))
            return Self.response(MessageDocument(message: "updating \(version.specification.title)"))
        case .delete(let api):
            try await deployments.delete(api: api, keepRequests: try query.bool("keepCache"))
            return Self.response(MessageDocument(message: "deleting \(api)"))
        case .list: return Self.response(try await list(addresses))
        case .get(let api): return Self.response([try await document(of: api, addresses)])
        case .version(let api, let id): return Self.response([try await document(of: api, version: id, addresses)])
        case .describe(let api): return Self.response([try await description(of: api, addresses)])
        case .logs(let api): return try await logs(of: api, query: query, request: request)
        case .requests(let api): return Self.response(try await requests(of: api, query: query))
        case .retry(let api, let id): return Self.response(try await retry(id, of: api))
        }
    }

    private func authenticate(_ request: Request) throws {
        for presented in credentials(of: request) where tokens.accepts(presented) { return }
        throw PlatformError(
            .unauthorized,
            "the operator needs its token: run cortex env configure, or send it as Authorization: Bearer <token>")
    }

    private func credentials(of request: Request) -> [String] {
        let fields = [request.headers[.authorization], Self.authorizationHeader.flatMap { request.headers[$0] }]
        return fields.compactMap { $0 }.map { value in
            let words = value.split(separator: " ", omittingEmptySubsequences: true)
            guard words.count == 2, words[0].lowercased() == "bearer" else { return value }
            return String(words[1])
        }
    }

    private func readiness() async -> Response {
        let missing = await configuration.notReady()
        guard missing.isEmpty else {
            return Self.response(
                PlatformError(.unavailable, "not ready yet: \(missing.joined(separator: "; "))"),
                headers: [.retryAfter: "1"])
        }
        return Self.response(["status": "ready"])
    }

    // MARK: Answers

    static func response(
        _ document: some Encodable, status: HTTPResponse.Status = .ok, headers: HTTPFields = HTTPFields()
    ) -> Response {
        var headers = headers
        headers[.contentType] = "application/json"
        headers[.cacheControl] = "no-store"
        do {
            return Response(
                status: status, headers: headers,
                body: ResponseBody(byteBuffer: ByteBuffer(bytes: try JSONCoding.encode(document))))
        } catch {
            // Only a number that JSON cannot write gets here, and no document has one.
            return Response(status: .internalServerError)
        }
    }

    static func response(_ error: PlatformError, headers: HTTPFields = HTTPFields()) -> Response {
        var headers = headers
        if error.code == .unauthorized { headers[.wwwAuthenticate] = "Bearer realm=\"cortex\"" }
        if error.code == .storeUnavailable || error.code == .unavailable, headers[.retryAfter] == nil {
            headers[.retryAfter] = "1"
        }
        return response(ErrorDocument(error), status: error.code.operatorStatus, headers: headers)
    }
}
