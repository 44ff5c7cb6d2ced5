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
                .trafficSplitter(
                    SplitterSpecification(
                        targets: [.init(api: "hello", weight: 100)], guarding: .init(api: "hello")))
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
        ago: Duration = .seconds(12), detailed: Bool = true, history: Bool = false, traffic: TrafficReport? = nil,
        endpoint: String = "http://127.0.0.1:8889"
    ) -> APIDocument {
        let deployed = deployed(name, kind: kind, ago: ago)
        return APIDocument(
            spec: SpecDocument(deployed, submitted: .object([:])), metadata: .init(deployed),
            status: StatusDocument(
                APIStatus(requested: requested, replicas: replicas, reason: reason),
                queue: kind == .async ? QueueCounts(inQueue: 3, inProgress: 1) : nil, detailed: detailed,
                traffic: kind == .realtime ? traffic : nil),
            endpoint: "\(endpoint)/\(name)", apiVersions: history ? [.init(deployed)] : nil)
    }

    /// A TrafficSplitter of which the guard has rolled a target back.
    static func splitter(_ name: String) -> APIDocument {
        var api = api(name, kind: .trafficSplitter)
        api.status = StatusDocument(
            SplitReport(
                state: .rolledBack, api: "v2", weight: 10, reason: "12 of 40 requests failed, 5% may",
                since: now - .seconds(184),
                targets: [
                    .init(api: "v1", weight: 100, served: 0.9991, errorRate: 0.002, p99: 120),
                    .init(api: "v2", weight: 0, served: 0.0009, errorRate: 1, p99: 1.5),
                    .init(
                        api: "v3", weight: 5, isShadow: true, served: 0.05, copies: 120, givenUp: 3, agreedStatus: 1,
                        agreedBody: 0.981),
                ]))
        api.numTrafficSplitterTargets = 3
        return api
    }

    static func json(_ document: some Encodable) throws -> String {
        try DocumentText.encode(document)
    }
}
