import Core
import HTTPServing
import NIOHTTP1

/// What the gateway needs to know of an API. An object, because it is handed from function to function with every
/// request.
final class Endpoint: Sendable {
    let name: String
    /// `/<endpoint>`
    let path: String
    let requests: RequestPolicy
    /// For `/<endpoint>` and for `/<endpoint>/<id>`.
    let submitCORS: CORS
    let requestCORS: CORS

    init(_ api: DeployedAPI) {
        let networking = api.specification.networking
        self.name = api.name
        self.path = networking.endpoint
        self.requests = api.specification.requests
        self.submitCORS = CORS(allowedOrigins: networking.allowOrigins, methods: [.POST])
        self.requestCORS = CORS(allowedOrigins: networking.allowOrigins, methods: [.GET, .HEAD, .DELETE])
    }
}

/// Which API answers at which path. Endpoints may have several segments; the longest one that fits wins.
struct EndpointTable: Sendable {
    enum Match: Sendable {
        /// `/<endpoint>`: submit here.
        case requests(Endpoint)
        /// `/<endpoint>/<id>`; the id decoded, which need not be one.
        case request(Endpoint, id: String)
    }

    private var apis: [String: Endpoint] = [:]

    init(_ deployed: [DeployedAPI] = []) {
        for api in deployed {
            let key = Self.key(api.specification.networking.endpoint)
            // Two APIs cannot be deployed at one endpoint; should it happen all the same, the answer must not depend on
            // chance.
            if apis[key] == nil { apis[key] = Endpoint(api) }
        }
    }

    /// The API at a path as it came over the wire; one slash at its end does not matter.
    func match(_ path: String) -> Match? {
        let key = Self.key(path)
        guard key.contains(byte: UInt8(ascii: "%")) else { return find(key) }
        // Decoded before anything is compared: `/a/%62` is the endpoint `/a/b` where there is one, not the id `%62` of
        // `/a`.
        return Self.decode(key).flatMap(find)
    }

    private func find(_ key: String) -> Match? {
        if let api = apis[key] { return .requests(api) }
        guard let slash = key.utf8.lastIndex(of: UInt8(ascii: "/")), let api = apis[String(key[..<slash])] else {
            return nil
        }
        return .request(api, id: String(key[key.utf8.index(after: slash)...]))
    }

    /// An encoded slash is no separator.
    private static func decode(_ path: String) -> String? {
        var segments: [String] = []
        for segment in path.split(separator: "/", omittingEmptySubsequences: false) {
            guard let decoded = PercentCoding.decode(segment), !decoded.contains("/") else { return nil }
            segments.append(decoded)
        }
        return segments.joined(separator: "/")
    }

    private static func key(_ path: String) -> String {
        path.utf8.last == UInt8(ascii: "/") ? String(path.dropLast()) : path
    }
}
