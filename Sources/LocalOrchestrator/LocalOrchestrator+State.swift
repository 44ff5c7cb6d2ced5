package import Core

extension LocalOrchestrator {
    /// Every pod of the table with its phase, also those that are being stopped, sorted by API and id.
    package func state() -> [StateDocument.Replica] {
        pods.values.map { pod in
            StateDocument.Replica(
                id: pod.id, api: pod.api.name,
                // The name of the case, without the time that it carries.
                phase: String(String(describing: pod.phase).prefix { $0 != "(" }),
                inFlight: pod.activity.inFlight, reason: pod.reason)
        }.sorted { ($0.api, $0.id) < ($1.api, $1.id) }
    }
}
