/// What a request to the operator asks for.
enum OperatorRoute: Equatable {
    case health
    case readiness
    case verify
    case info
    case deploy
    case refresh(api: String)
    case delete(api: String)
    case list
    case get(api: String)
    case version(api: String, id: String)
    case describe(api: String)
    case logs(api: String)
    case requests(api: String)
    case retry(api: String, id: String)

    /// Whether it is answered without a credential.
    var isOpen: Bool {
        switch self {
        case .health, .readiness, .verify: true
        default: false
        }
    }

    /// Whether client and server must be of one version. `info` is how a client learns the server's.
    var checksVersion: Bool { !isOpen && self != .info }

    enum Match: Equatable {
        case found(OperatorRoute)
        /// The path exists with these methods only.
        case wrongMethod(allowed: [String])
        case unknown
    }

    /// Reads the route off method and path (still percent-encoded, without the query).
    static func match(method: String, path: String) -> Match {
        guard let segments = segments(of: path), let (expected, route) = route(of: segments) else { return .unknown }
        if method == expected || (method == "HEAD" && expected == "GET") { return .found(route) }
        return .wrongMethod(allowed: expected == "GET" ? ["GET", "HEAD"] : [expected])
    }

    private static func route(of segments: [String]) -> (method: String, OperatorRoute)? {
        switch (segments.first, segments.dropFirst().first, segments.dropFirst(2).first, segments.count) {
        case ("healthz", nil, nil, 1): ("GET", .health)
        case ("readyz", nil, nil, 1): ("GET", .readiness)
        case ("verifycortex", nil, nil, 1): ("GET", .verify)
        case ("info", nil, nil, 1): ("GET", .info)
        case ("deploy", nil, nil, 1): ("POST", .deploy)
        case ("refresh", let api?, nil, 2): ("POST", .refresh(api: api))
        case ("delete", let api?, nil, 2): ("DELETE", .delete(api: api))
        case ("get", nil, nil, 1): ("GET", .list)
        case ("get", let api?, nil, 2): ("GET", .get(api: api))
        case ("get", let api?, let id?, 3): ("GET", .version(api: api, id: id))
        case ("describe", let api?, nil, 2): ("GET", .describe(api: api))
        case ("logs", let api?, nil, 2): ("GET", .logs(api: api))
        case ("requests", let api?, nil, 2): ("GET", .requests(api: api))
        case ("retry", let api?, let id?, 3): ("POST", .retry(api: api, id: id))
        default: nil
        }
    }

    /// The decoded segments, less an empty one at the end; `nil` for what is no path.
    private static func segments(of path: String) -> [String]? {
        guard path.hasPrefix("/") else { return nil }
        var segments: [String] = []
        for raw in path.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            guard let segment = PercentEncoding.decode(raw, plusIsSpace: false) else { return nil }
            segments.append(segment)
        }
        if segments.last?.isEmpty == true { segments.removeLast() }
        return segments.contains(where: \.isEmpty) ? nil : segments
    }
}
