import Client
import Core
import Platform
import Support
import Wire

/// `cortex cluster info` and `health`.
enum ClusterView {
    static func render(_ info: InfoDocument, apis: [APIDocument], environment: Environment, style: TextStyle) -> String
    {
        let cluster = info.clusterConfig
        var facts = [
            ("cluster", cluster.clusterName), ("environment", environment.name), ("version", cluster.apiVersion),
            ("operator", cluster.operatorEndpoint), ("gateway", cluster.gatewayEndpoint), ("engine", cluster.engine),
            ("store", cluster.store), ("apis", "\(info.numAPIs)"),
        ]
        let statuses = apis.compactMap(\.status)
        if !statuses.isEmpty || info.numAPIs == 0 {
            let (ready, wanted) = statuses.reduce((0, 0)) { ($0.0 + $1.ready, $0.1 + $1.requested) }
            facts.append(("replicas", "\(ready) ready, \(wanted) wanted"))
        } else {
            facts.append(("replicas", "\(info.numPendingReplicas) not ready"))
        }
        if let queue = info.queue {
            facts.append(("requests", "\(queue.inQueue) in queue, \(queue.inProgress) in progress"))
        }
        if let capacity = info.capacity {
            let (used, total) = (capacity.used, capacity.total)
            facts.append(("cpu", "\(cores(used.cpuMilli)) of \(cores(total.cpuMilli)) cores declared"))
            facts.append(
                ("memory", "\(DiskSpace.gigabytes(used.memBytes)) of \(DiskSpace.gigabytes(total.memBytes)) declared"))
            if total.gpu > 0 { facts.append(("gpu", "\(used.gpu) of \(total.gpu) taken")) }
        }
        return lines(facts.map { ("", $0.0, $0.1) }, style)
    }

    static func render(_ health: HealthDocument, style: TextStyle) -> String {
        lines(
            health.components.map { component in
                let isHealthy = component.status == .healthy
                return (
                    style.colored(isHealthy ? "✓ " : "✗ ", isHealthy ? .green : .red), component.name, component.detail
                )
            }, style)
    }

    private static func cores(_ milli: Int64) -> String { "\(milli / 1000).\(milli % 1000 / 100)" }

    private static func lines(_ facts: [(mark: String, name: String, value: String)], _ style: TextStyle) -> String {
        let width = facts.reduce(0) { max($0, $1.name.inOneLine.count) }
        return facts.map { fact in
            let name = fact.name.inOneLine
            return fact.mark + style.bold(name) + String(repeating: " ", count: width - name.count + 3)
                + style.hanging(fact.value, at: (fact.mark.isEmpty ? 0 : 2) + width + 3)
        }.joined(separator: "\n")
    }
}
