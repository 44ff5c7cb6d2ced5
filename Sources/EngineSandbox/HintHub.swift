import PodInitClient
import Support
import Synchronization

/// Subscribes to the supervisors of pods and publishes in which pod something happened.
final class HintHub: Sendable {
    private let watched = Mutex<[String: PodInitClient.Subscription]>([:])
    private let hints = Broadcast<String>(limit: 1024)

    /// Ids of pods in which something happened. A slow reader loses the oldest.
    func stream() -> AsyncStream<String> { hints.stream() }

    func publish(_ pod: String) { hints.send(pod) }

    /// Listens to a pod until it is gone. A second call for the same pod has no effect.
    func watch(_ pod: String, _ client: PodInitClient) {
        // Created and stored under one lock: two callers never subscribe twice, and the end of one subscription never
        // removes another one.
        let subscription = watched.withLock { watched -> PodInitClient.Subscription? in
            guard watched[pod] == nil else { return nil }
            let subscription = client.subscribe { [weak self] _ in
                self?.publish(pod)
            } onEnd: { [weak self] in
                self?.forget(pod)
                self?.publish(pod)
            }
            watched[pod] = subscription
            return subscription
        }
        subscription?.begin()
    }

    func forget(_ pod: String) {
        watched.withLock { $0.removeValue(forKey: pod) }?.cancel()
    }

    deinit {
        for subscription in watched.withLock({ Array($0.values) }) { subscription.cancel() }
        hints.finish()
    }
}
