package import Core

/// `pod` of a ``SpecDocument``.
package struct PodDocument: Sendable, Hashable, Codable {
    /// `nil` for a TaskAPI, as is `maxConcurrency`: nothing is sent to a task.
    package var port: Int?
    package var maxConcurrency: Int?
    /// Only of a RealtimeAPI.
    package var maxQueueLength: Int?
    /// Nanoseconds.
    package var terminationGracePeriod: Int64
    /// Left out where it is the default, as it is in documents of servers that do not know the field.
    package var operatorAccess: OperatorAccess?
    package var containers: [Container]

    init(_ pod: PodSpecification) {
        self.port = pod.port
        self.maxConcurrency = pod.maxConcurrency
        self.terminationGracePeriod = pod.terminationGracePeriod.wholeNanoseconds
        self.operatorAccess = pod.operatorAccess == .standard ? nil : pod.operatorAccess
        self.containers = pod.containers.map(Container.init)
    }

    init(task pod: PodSpecification) {
        self.init(pod)
        (self.port, self.maxConcurrency) = (nil, nil)
    }

    enum CodingKeys: String, CodingKey {
        case port, containers
        case maxConcurrency = "max_concurrency"
        case maxQueueLength = "max_queue_length"
        case terminationGracePeriod = "termination_grace_period"
        case operatorAccess = "operator_access"
    }

    /// One container of the pod.
    package struct Container: Sendable, Hashable, Codable {
        package var name: String
        @OrNull package var image: String?
        package var env: [String: String]
        @OrNull package var command: [String]?
        @OrNull package var args: [String]?
        @OrNull package var readinessProbe: ProbeDocument?
        @OrNull package var livenessProbe: ProbeDocument?
        @OrNull package var preStop: PreStop?
        package var compute: Resources
        /// `source:target[:ro]`, the source absolute.
        package var volumes: [String]

        init(_ container: ContainerSpecification) {
            self.name = container.name
            self.image = container.image
            self.env = container.env
            self.command = container.command
            self.args = container.args
            self.readinessProbe = container.readinessProbe.map(ProbeDocument.init)
            self.livenessProbe = container.livenessProbe.map(ProbeDocument.init)
            self.preStop = container.preStop.map(PreStop.init)
            self.compute = Resources(
                cpu: container.compute.cpu?.text, mem: container.compute.mem?.text, shm: container.compute.shm?.text,
                disk: container.compute.disk?.text, gpu: container.compute.gpu)
            self.volumes = container.volumes.map { "\($0.source):\($0.target)\($0.readOnly ? ":ro" : "")" }
        }

        enum CodingKeys: String, CodingKey {
            case name, image, env, command, args, compute, volumes
            case readinessProbe = "readiness_probe"
            case livenessProbe = "liveness_probe"
            case preStop = "pre_stop"
        }
    }

    /// What runs before SIGTERM; exactly one of the two.
    package struct PreStop: Sendable, Hashable, Codable {
        @OrNull package var httpGet: HTTPGet?
        @OrNull package var exec: Exec?

        init(_ preStop: ContainerSpecification.PreStop) {
            switch preStop {
            case .httpGet(let get): (self.httpGet, self.exec) = (get, nil)
            case .exec(let command): (self.httpGet, self.exec) = (nil, Exec(command: command))
            }
        }

        enum CodingKeys: String, CodingKey {
            case exec
            case httpGet = "http_get"
        }
    }

    /// A command that runs in the container.
    package struct Exec: Sendable, Hashable, Codable {
        package var command: [String]
    }

    /// `compute`, as the user wrote it.
    package struct Resources: Sendable, Hashable, Codable {
        @OrNull package var cpu: String?
        @OrNull package var mem: String?
        @OrNull package var shm: String?
        /// Left out where there is no limit, so that it changes no version that does not use it.
        package var disk: String?
        package var gpu: Int
    }
}

/// A readiness or liveness probe of a ``PodDocument``. Its times are whole seconds, as its keys say.
package struct ProbeDocument: Sendable, Hashable, Codable {
    @OrNull package var httpGet: HTTPGet?
    @OrNull package var tcpSocket: TCPSocket?
    @OrNull package var exec: PodDocument.Exec?
    package var initialDelaySeconds: Int64
    package var timeoutSeconds: Int64
    package var periodSeconds: Int64
    package var successThreshold: Int
    package var failureThreshold: Int

    init(_ probe: Probe) {
        switch probe.handler {
        case .httpGet(let get): (self.httpGet, self.tcpSocket, self.exec) = (get, nil, nil)
        case .tcpSocket(let port): (self.httpGet, self.tcpSocket, self.exec) = (nil, TCPSocket(port: port), nil)
        case .exec(let command):
            (self.httpGet, self.tcpSocket, self.exec) = (nil, nil, PodDocument.Exec(command: command))
        }
        self.initialDelaySeconds = probe.initialDelay.components.seconds
        self.timeoutSeconds = probe.timeout.components.seconds
        self.periodSeconds = probe.period.components.seconds
        self.successThreshold = probe.successThreshold
        self.failureThreshold = probe.failureThreshold
    }

    enum CodingKeys: String, CodingKey {
        case exec
        case httpGet = "http_get"
        case tcpSocket = "tcp_socket"
        case initialDelaySeconds = "initial_delay_seconds"
        case timeoutSeconds = "timeout_seconds"
        case periodSeconds = "period_seconds"
        case successThreshold = "success_threshold"
        case failureThreshold = "failure_threshold"
    }

    /// A port to connect to.
    package struct TCPSocket: Sendable, Hashable, Codable {
        package var port: Int
    }
}
