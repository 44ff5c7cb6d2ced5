import Core
import HTTPServing

/// Which API answers at which path. Endpoints may have several segments; the longest one that fits wins.
struct EndpointTable: Sendable {
    enum Match: Sendable {
        /// `/<endpoint>`: submit here.
        case requests(DeployedAPI)
        /// `/<endpoint>/<id>`; the id as written, which need not be one.
        case request(DeployedAPI, id: String)
    }

    private var apis: [String: DeployedAPI] = [:]

    init(_ deployed: [DeployedAPI] = []) {
        for api in deployed where api.specification.kind == .async {
            let key = Self.key(api.specification.networking.endpoint)
            // Two APIs cannot be deployed at one endpoint; should it happen all the same, the answer must not depend on chance.
            if apis[key] == nil { apis[key] = api }
        }
    }

    /// The API at a path as it came over the wire; one slash at its end does not matter.
    func match(_ path: String) -> Match? {
        let key = Self.key(path)
        if let match = find(key) { return match }
        guard key.utf8.contains(UInt8(ascii: "%")), let decoded = Self.decode(key) else { return nil }
        return find(decoded)
    }

    private func find(_ key: String) -> Match? {
        if let api = apis[key] { return .requests(api) }
        guard let slash = key.lastIndex(of: "/"), let api = apis[String(key[..<slash])] else { return nil }
        return .request(api, id: String(key[key.index(after: slash)...]))
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
