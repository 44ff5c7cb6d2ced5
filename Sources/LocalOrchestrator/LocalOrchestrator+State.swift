import Core

/// What a pod is doing at this moment, for finding out why something does not go on.
package struct PodState: Sendable, Hashable {
    package var id: String
    /// Name of its API.
    package var api: String
    /// Name of its phase in the orchestrator.
    package var phase: String
    /// Requests inside it.
    package var inFlight: Int
    /// Why it is not ready, in one line.
    package var reason: String?
}

extension LocalOrchestrator {
    /// Every pod of the table with its phase, also those that are being stopped, sorted by API and id.
    package func state() -> [PodState] {
        pods.values.map { pod in
            PodState(
                id: pod.id, api: pod.api.name,
                // The name of the case, without the time that it carries.
                phase: String(String(describing: pod.phase).prefix { $0 != "(" }),
                inFlight: pod.activity.inFlight, reason: pod.reason)
        }.sorted { ($0.api, $0.id) < ($1.api, $1.id) }
    }
}
