import Core
import HTTPServing

/// Which API answers at which path. Endpoints may have several segments; the longest one that matches whole segments
/// is used.
struct EndpointTable: Sendable {
    /// An API and the rest of a path.
    struct Match: Sendable {
        let endpoint: Endpoint
        let rest: Substring
    }

    private var endpoints: [String: Endpoint] = [:]
    /// That of `/`.
    private var root: Endpoint?
    /// The number of segments of the longest endpoint: a longer path costs no more lookups.
    private var depth = 0

    init(_ deployed: [DeployedAPI], endpoint: (DeployedAPI) -> Endpoint?) {
        for api in deployed {
            let path = api.specification.networking.endpoint
            let key = path == "/" ? "" : path
            // Two APIs cannot be deployed at one endpoint. If it happens all the same, the answer must not depend on
            // chance.
            guard endpoints[key] == nil, let endpoint = endpoint(api) else { continue }
            endpoints[key] = endpoint
            if key.isEmpty { root = endpoint }
            depth = max(depth, key.utf8.count { $0 == UInt8(ascii: "/") })
        }
    }

    /// The API at a path as the caller sent it.
    ///
    /// Each segment is decoded before it is compared: `/a/%62` is the endpoint `/a/b` if there is one, otherwise `/%62`
    /// below `/a`. An encoded slash does not separate segments.
    func match(_ path: String) -> Match? {
        if let endpoint = endpoints[path] { return Match(endpoint: endpoint, rest: "") }
        let slash = UInt8(ascii: "/")
        guard path.utf8.first == slash else { return nil }
        let isEncoded = path.contains(byte: UInt8(ascii: "%"))
        var found = root.map { Match(endpoint: $0, rest: path[...]) }
        var prefix = ""
        var rest = path[...]
        for _ in 0..<depth where !rest.isEmpty {
            let afterSlash = rest[rest.utf8.index(after: rest.startIndex)...]
            let end = afterSlash.utf8.firstIndex(of: slash) ?? afterSlash.endIndex
            if isEncoded {
                guard let segment = PercentCoding.decode(afterSlash[..<end]), !segment.contains(byte: slash) else {
                    break
                }
                prefix += "/" + segment
            } else {
                prefix = String(path[..<end])
            }
            rest = afterSlash[end...]
            if let endpoint = endpoints[prefix] { found = Match(endpoint: endpoint, rest: rest) }
        }
        if let found, case .replies(let handler) = found.endpoint, !handler.serves(found.rest) { return nil }
        return found
    }
}
