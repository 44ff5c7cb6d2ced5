import Core

/// A replica of a RealtimeAPI as long as it is ready, or a request is inside.
final class ProxyReplica: Sendable {
    let ready: ReadyReplica
    /// Its responses of the last minute, in steps of 5 s, because an API may have many replicas: at most 54,000 bytes.
    let traffic = TrafficRecorder(TrafficRing(steps: 12))
    let connections = ReplicaConnections()

    init(_ ready: ReadyReplica) {
        self.ready = ready
    }

    var id: String { ready.id }
}
