import Client
import Core
import Wire

extension APIKind {
    /// Kinds whose requests are answered by a container while the caller waits, and are not stored (contract R24).
    static let answeringDirectly: Set<APIKind> = [.realtime, .trafficSplitter]
    /// Kinds of which callers submit jobs (contract J).
    static let withJobs: Set<APIKind> = [.batch, .task]
    /// Kinds that store what is submitted.
    static let storing: Set<APIKind> = [.async, .batch, .task]
}

/// Errors of commands that an API's kind does not have; each names the command to use instead.
enum WrongKind {
    /// Checks that an API is of one of these kinds.
    ///
    /// - Throws: ``PlatformError`` `not_supported` with the API's kind, and what to use instead.
    static func expect(_ kinds: Set<APIKind>, _ api: APIDocument, name: String) throws {
        guard !kinds.contains(APITable.kind(of: api)) else { return }
        throw error(api, name: name, expecting: kinds)
    }

    /// - Parameter kinds: the kinds of API that the command is for.
    static func error(_ api: APIDocument, name: String, expecting kinds: Set<APIKind> = []) -> PlatformError {
        let kind = APITable.kind(of: api)
        let article = "aeiouAEIOU".contains(kind.rawValue.prefix(1)) ? "an" : "a"
        let what = "\(name) is \(article) \(kind.rawValue)"
        let advice =
            switch kind {
            case .realtime where kinds == [.trafficSplitter]: "; only a TrafficSplitter has weights"
            case .realtime, .trafficSplitter:
                ", which answers directly and stores no requests; call it with: cortex call \(name)"
            case .async where kinds == [.trafficSplitter]: "; only a TrafficSplitter has weights"
            case .async: "; submit a request to it with: cortex submit \(name)"
            case .task where kinds == [.batch]:
                ", whose results are in its job document and its artifacts: see cortex result and cortex artifacts"
            case .batch where kinds == [.task]: ", whose results are read with: cortex results \(name) JOB"
            case .batch where kinds == [.trafficSplitter], .task where kinds == [.trafficSplitter]:
                "; only a TrafficSplitter has weights"
            case .batch, .task: ", which runs jobs; list them with: cortex jobs \(name)"
            }
        return PlatformError(.notSupported, what + advice)
    }

    /// Runs a call of the operator about the stored requests of an API. If it fails or finds nothing because the API's
    /// kind stores none, the error names the command to use instead.
    static func explaining<Result: Sendable>(
        _ client: OperatorClient, api name: String, isEmpty: (Result) -> Bool = { _ in false },
        _ call: () async throws -> Result
    ) async throws -> Result {
        let result: Result
        do {
            result = try await call()
        } catch let error as PlatformError where !error.isPassing {
            if let api = try? await client.api(name) { try expect([.async], api, name: name) }
            throw error
        }
        if isEmpty(result), let api = try? await client.api(name) { try expect([.async], api, name: name) }
        return result
    }
}
