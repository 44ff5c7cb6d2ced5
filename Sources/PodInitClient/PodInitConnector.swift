import Core

/// The way into a pod through its `PodInit`.
package struct PodInitConnector: Connector {
    package let client: PodInitClient
    /// How long a port may take to accept.
    package let timeout: Duration

    package init(client: PodInitClient, timeout: Duration = .seconds(10)) {
        self.client = client
        self.timeout = timeout
    }

    package func connect(port: Int) async throws -> CInt {
        try await client.connect(port: port, timeout: timeout)
    }
}
