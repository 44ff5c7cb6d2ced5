import Core

/// Connects to ports of a pod: over sockets that the platform makes, or through the pod's `PodInit` where it cannot
/// make them.
package struct PodInitConnector: Connector {
    /// How the platform makes sockets in the pod's network.
    package struct Own: Sendable {
        let sockets: PodSockets
        let pod: String
        let network: @Sendable () async throws -> CInt?

        /// - Parameter network: opens the pod's network namespace, which then belongs to the connector; `nil`: it
        ///   cannot be opened here.
        package init(sockets: PodSockets, pod: String, network: @escaping @Sendable () async throws -> CInt?) {
            self.sockets = sockets
            self.pod = pod
            self.network = network
        }

        fileprivate func connect(port: Int, timeout: Duration) async throws -> CInt? {
            try await sockets.connect(pod: pod, port: port, timeout: timeout, network: network)
        }
    }

    package let client: PodInitClient
    /// How long a port may take to accept.
    package let timeout: Duration
    let own: Own?

    package init(client: PodInitClient, timeout: Duration = .seconds(10), own: Own? = nil) {
        self.client = client
        self.timeout = timeout
        self.own = own
    }

    package func connect(port: Int) async throws -> CInt {
        let connected = try await own?.connect(port: port, timeout: timeout)
        if let connected { return connected }
        return try await client.connect(port: port, timeout: timeout)
    }
}
