import Core
package import Wire

extension EndpointURL {
    /// Where an API's requests go to, seen from here.
    ///
    /// The operator shows the public URL. Inside a container only the cluster's own name of the gateway is sure to be
    /// reached (contract C10); and an address on loopback is the server's loopback, which from another machine means
    /// the server.
    ///
    /// - Throws: ``PlatformError`` `not_found` when the operator named no endpoint.
    package static func gateway(of api: APIDocument, in environment: Environment) throws -> EndpointURL {
        guard let text = api.endpoint, !text.isEmpty else {
            throw PlatformError(.notFound, "the operator names no endpoint for this API; deploy it again")
        }
        let endpoint = try EndpointURL(text)
        let operatorURL = try EndpointURL(environment.operatorEndpoint)
        if operatorURL.isInsideCluster {
            return try endpoint.replacing(scheme: "http", host: ClusterNames.gateway, port: nil)
        }
        if endpoint.isLoopback, !operatorURL.isLoopback {
            return try endpoint.replacing(scheme: endpoint.scheme, host: operatorURL.host, port: endpoint.port)
        }
        return endpoint
    }
}
