package import Core

/// A probe that must pass before and while a pod gets requests (contract C7).
package struct GatingProbe: Sendable, Hashable {
    /// The container that declares it; `nil` for the platform's own probe of the pod's port.
    package var container: String?
    package var probe: Probe
    /// The period after it passes, if it is longer than before; `nil`: unchanged.
    package var periodOncePassing: Duration?

    package init(container: String?, probe: Probe, periodOncePassing: Duration? = nil) {
        self.container = container
        self.probe = probe
        self.periodOncePassing = periodOncePassing
    }
}

/// The probes that decide the readiness of a pod.
package enum ReadinessPlan {
    /// The readiness probes of all containers, in order. Unless one of them targets the pod's port, a TCP probe of that
    /// port comes first.
    package static func probes(of pod: PodSpecification) -> [GatingProbe] {
        let declared = pod.containers.compactMap { container in
            container.readinessProbe.map { GatingProbe(container: container.name, probe: $0) }
        }
        let isPortProbed = declared.contains { $0.probe.handler.port == pod.port }
        return isPortProbed ? declared : [portProbe(pod.port)] + declared
    }

    /// Checks often until the port is open (at first more often than the period), so that a replica gets requests as
    /// soon as possible, then every second as in the original.
    private static func portProbe(_ port: Int) -> GatingProbe {
        GatingProbe(
            container: nil,
            probe: Probe(
                handler: .tcpSocket(port: port), initialDelay: .zero, timeout: .seconds(1),
                period: .milliseconds(100), successThreshold: 1, failureThreshold: 1),
            periodOncePassing: .seconds(1))
    }
}

extension Probe.Handler {
    /// The checked port; `nil` for a command.
    package var port: Int? {
        switch self {
        case .httpGet(let get): get.port
        case .tcpSocket(let port): port
        case .exec: nil
        }
    }
}
