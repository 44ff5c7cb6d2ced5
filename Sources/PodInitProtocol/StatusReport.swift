/// What `status` answers: how the platform's names are reached, and every container.
package struct StatusReport: Sendable, Equatable {
    /// One container of a sandbox pod.
    package struct Container: Sendable, Equatable {
        package var name: String
        /// The exit code once it ended; `nil` while it runs.
        package var exitCode: Int?
        package var outOfMemory: Bool
        /// How often it was started.
        package var starts: Int
        /// Microseconds since the Unix epoch.
        package var startedAt: Int64
        /// Process id of its bubblewrap, on the host; 0 once it ended.
        package var processID: Int

        package init(
            name: String, exitCode: Int?, outOfMemory: Bool, starts: Int, startedAt: Int64, processID: Int
        ) {
            self.name = name
            self.exitCode = exitCode
            self.outOfMemory = outOfMemory
            self.starts = starts
            self.startedAt = startedAt
            self.processID = processID
        }
    }

    /// `veth`: the platform listens in a namespace of its own. `loopback`: on 127.0.0.80 and .81 in the pod's, which
    /// takes `0.0.0.0:80` and `:8888` from the containers. `host`: the engine made the network.
    package var network: String
    package var containers: [Container]

    package init(network: String, containers: [Container]) {
        self.network = network
        self.containers = containers
    }

    /// Seven fields for each container after the network.
    package var fields: [String] {
        [network]
            + containers.flatMap {
                [
                    $0.name, $0.exitCode == nil ? "running" : "exited", String($0.exitCode ?? 0),
                    $0.outOfMemory ? "1" : "0", String($0.starts), String($0.startedAt), String($0.processID),
                ]
            }
    }

    /// `nil` when the fields are not such a report.
    package init?(fields: [String]) {
        guard let network = fields.first, (fields.count - 1) % 7 == 0 else { return nil }
        self.network = network
        self.containers = []
        for start in stride(from: 1, to: fields.count, by: 7) {
            guard let code = Int(fields[start + 2]), let starts = Int(fields[start + 4]),
                let startedAt = Int64(fields[start + 5]), let processID = Int(fields[start + 6])
            else { return nil }
            containers.append(
                Container(
                    name: fields[start], exitCode: fields[start + 1] == "exited" ? code : nil,
                    outOfMemory: fields[start + 3] == "1", starts: starts, startedAt: startedAt,
                    processID: processID))
        }
    }
}
