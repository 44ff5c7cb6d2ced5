package import Core
package import Wire

/// What the operator reports about its platform.
package struct OperatorConfiguration: Sendable {
    /// Name of the installation, for `/info`.
    package var clusterName: String
    /// `docker`, `podman` or `sandbox`, for `/info`.
    package var engine: String
    /// How long a followed log may be silent before an empty line keeps its connection alive.
    package var heartbeat: Duration
    /// The most that a pod may do at the operator, whatever its version declares (contract N1).
    package var podAccessLimit: OperatorAccess
    /// Which folders of this machine pods may mount.
    package var volumes: VolumePolicy
    /// Asked for each answer, as ports may be chosen by the system at the start.
    package var addresses: @Sendable () -> PlatformAddresses
    /// What is not ready yet, in words for people; empty once requests are accepted (contract U2).
    package var notReady: @Sendable () async -> [String]
    /// The autoscaler's last decisions about an API, oldest first.
    package var scaling: @Sendable (_ api: String) async -> [ScalingDecision]
    /// Each part of the platform and whether it does its work, for `/health`.
    package var components: @Sendable () async -> [HealthDocument.Component]
    /// What the platform does at this moment, for `/debug/state`.
    package var state: @Sendable () async -> StateDocument

    package init(
        clusterName: String = "local", engine: String, heartbeat: Duration = .seconds(10),
        podAccessLimit: OperatorAccess = .own, volumes: VolumePolicy = VolumePolicy(),
        addresses: @escaping @Sendable () -> PlatformAddresses, notReady: @escaping @Sendable () async -> [String],
        scaling: @escaping @Sendable (_ api: String) async -> [ScalingDecision] = { _ in [] },
        components: @escaping @Sendable () async -> [HealthDocument.Component] = { [] },
        state: @escaping @Sendable () async -> StateDocument = { StateDocument() }
    ) {
        self.clusterName = clusterName
        self.engine = engine
        self.heartbeat = heartbeat
        self.podAccessLimit = podAccessLimit
        self.volumes = volumes
        self.addresses = addresses
        self.notReady = notReady
        self.scaling = scaling
        self.components = components
        self.state = state
    }
}
