import Core

/// A replica of a RealtimeAPI as long as it is ready, or a request is inside.
final class ProxyReplica: Sendable {
    let ready: ReadyReplica

    init(_ ready: ReadyReplica) {
        self.ready = ready
    }

    var id: String { ready.id }
}
