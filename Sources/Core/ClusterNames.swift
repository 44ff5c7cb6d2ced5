/// Host names and ports under which every container reaches the platform (contract C10), as the original had them.
package enum ClusterNames {
    /// The gateway, on port 80.
    package static let gateway = "ingressgateway-apis.istio-system.svc.cluster.local"
    /// The operator, on port 80.
    package static let operatorIngress = "ingressgateway-operator.istio-system.svc.cluster.local"
    /// The operator, on port 8888.
    package static let operatorService = "operator.default.svc.cluster.local"

    /// Ports no container may use.
    package static let reservedPorts: Set<Int> = [8888, 15000]
}
