import Core
import Foundation
import Wire

@testable import Commands

/// APIs and requests as an operator would show them.
enum Fixtures {
    static let now = Timestamp(seconds: 1_800_000_000)

    static func deployed(_ name: String, kind: APIKind = .async, ago: Duration = .seconds(12)) -> DeployedAPI {
        let workload = Workload(
            pod: PodSpecification(containers: [ContainerSpecification(name: "c", image: "img")]))
        let specification: KindSpecification =
            switch kind {
            case .realtime: .realtime(RealtimeSpecification(workload: workload))
            case .trafficSplitter:
                .trafficSplitter(SplitterSpecification(targets: [.init(api: "hello", weight: 100)]))
            default: .async(AsyncSpecification(workload: workload))
            }
        return DeployedAPI(
            specification: APISpecification(
                name: name, networking: .init(endpoint: "/\(name)"), kind: specification),
            id: "\(name)-id", specID: "spec", podID: "pod", deploymentID: "deployment", initialDeployment: now - ago,
            lastUpdated: now - ago)
    }

    static func replica(
        _ id: String, _ state: ReplicaState, reason: String? = nil, restarts: Int = 0
    ) -> ReplicaStatus {
        ReplicaStatus(
            id: id, state: state, reason: reason, restarts: restarts, startedAt: now - .seconds(184), inFlight: 1)
    }

    static func api(
        _ name: String, kind: APIKind = .async, requested: Int = 1, replicas: [ReplicaStatus] = [],
        reason: String? = nil,
        ago: Duration = .seconds(12), detailed: Bool = true, history: Bool = false,
        endpoint: String = "http://127.0.0.1:8889"
    ) -> APIDocument {
        let deployed = deployed(name, kind: kind, ago: ago)
        return APIDocument(
            spec: SpecDocument(deployed, submitted: .object([:])), metadata: .init(deployed),
            status: StatusDocument(
                APIStatus(requested: requested, replicas: replicas, reason: reason),
                queue: QueueCounts(inQueue: 3, inProgress: 1), detailed: detailed),
            endpoint: "\(endpoint)/\(name)", apiVersions: history ? [.init(deployed)] : nil)
    }

    static func json(_ document: some Encodable) throws -> String {
        try DocumentText.encode(document)
    }
}
