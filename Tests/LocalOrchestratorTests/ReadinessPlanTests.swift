import Core
import LocalOrchestrator
import Testing

@Suite("C7: probes that gate a pod")
struct ReadinessPlanTests {
    private let http = Probe(handler: .httpGet(HTTPGet(port: 8080, path: "/ready")))
    private let side = Probe(handler: .tcpSocket(port: 9000))

    private func probes(_ readiness: Probe?...) -> [GatingProbe] {
        ReadinessPlan.probes(
            of: PodSpecification(
                containers: readiness.enumerated().map {
                    ContainerSpecification(name: "c\($0.offset)", readinessProbe: $0.element)
                }))
    }

    @Test("C7: without a probe, the pod's port must accept a connection")
    func byDefault() throws {
        let gating = probes(nil, nil)
        #expect(gating.map(\.container) == [nil])
        let probe = try #require(gating.first?.probe)
        #expect(probe.handler == .tcpSocket(port: 8080) && probe.initialDelay == .zero)
        #expect(probe.successThreshold == 1 && probe.failureThreshold == 1)
        #expect(probe.period < .seconds(1))
    }

    @Test("C7: an http_get on the pod's port counts, whichever container declares it")
    func onThePort() {
        #expect(probes(nil, http) == [GatingProbe(container: "c1", probe: http)])
        let tcp = Probe(handler: .tcpSocket(port: 8080))
        #expect(probes(tcp) == [GatingProbe(container: "c0", probe: tcp)])
    }

    @Test("C7: a probe elsewhere gates too, and does not replace the default")
    func elsewhere() {
        let gating = probes(side, nil)
        #expect(gating.map(\.container) == [nil, "c0"])
        #expect(gating.last?.probe == side)
    }

    @Test("C7: all probes gate")
    func all() {
        #expect(probes(http, side).map(\.container) == ["c0", "c1"])
    }

    @Test("C7: liveness probes do not gate")
    func liveness() {
        let container = ContainerSpecification(name: "c", livenessProbe: http)
        #expect(ReadinessPlan.probes(of: PodSpecification(containers: [container])).map(\.container) == [nil])
    }
}
