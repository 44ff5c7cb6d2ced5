import Core

/// The settings of the sandbox engine.
package struct SandboxConfiguration: Sendable, Hashable {
    /// Folder of the pods, absolute; made if it is missing.
    package var directory: String
    /// Unix sockets on which the gateway and the operator listen, absolute. They need not exist yet.
    package var gatewaySocket: String
    package var operatorSocket: String
    /// The executable `cortex-pod-init`, absolute.
    package var podInit: String
    /// The executable `bwrap`, absolute.
    package var bubblewrap: String
    /// Bytes of a container's log file; it is kept twice.
    package var logLimit: Int
    /// Makes no veth pair, as on a kernel without them.
    package var loopbackOnly: Bool

    package init(
        directory: String, gatewaySocket: String, operatorSocket: String, podInit: String,
        bubblewrap: String = "/usr/bin/bwrap", logLimit: Int? = nil, loopbackOnly: Bool = false
    ) {
        self.directory = directory
        self.gatewaySocket = gatewaySocket
        self.operatorSocket = operatorSocket
        self.podInit = podInit
        self.bubblewrap = bubblewrap
        self.logLimit = logLimit ?? Limits.logFile
        self.loopbackOnly = loopbackOnly
    }
}
