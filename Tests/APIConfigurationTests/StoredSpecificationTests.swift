import APIConfiguration
import Core
import Foundation
import Records
import Testing

@Suite("A13: a specification is stored and read back exactly")
struct StoredSpecificationTests {
    private func deployed(_ specification: APISpecification) -> DeployedAPI {
        DeployedAPI(
            specification: specification, id: "a", specID: "b", podID: "c", deploymentID: "d",
            initialDeployment: Timestamp(microseconds: 1_800_000_000_123_456),
            lastUpdated: Timestamp(microseconds: 1_800_000_001_654_321), submitted: "{\"name\":\"é😀\"}")
    }

    private func stored(_ api: DeployedAPI) throws -> DeployedAPI {
        let data = try JSONEncoder().encode(DeployedAPIRecord(api))
        return try JSONDecoder().decode(DeployedAPIRecord.self, from: data).api
    }

    @Test("A13: every value survives, to the last digit", arguments: GoodFileTests.originals + GoodFileTests.extensions)
    func roundTrip(_ example: GoodFileTests.Case) throws {
        #expect(try stored(deployed(example.expected)).specification == example.expected)
    }

    @Test("A13: odd numbers survive")
    func oddNumbers() throws {
        var specification = GoodFileTests.originals[0].expected
        specification.requests.timeout = .nanoseconds(1_234_567_891)
        specification.requests.maxQueueTime = .seconds(365 * 86_400) + .nanoseconds(1)
        specification.autoscaling.targetInFlight = 0.1 + 0.2
        specification.autoscaling.maxUpscaleFactor = 1.0000000000000002
        specification.requests.maxPayload = .max
        #expect(try stored(deployed(specification)).specification == specification)
    }

    @Test("S3: the same specification is always the same text")
    func deterministic() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let reasons = RetryPolicy.Reason.allCases
        var texts: Set<Data> = []
        for seed in 0..<16 {
            var specification = GoodFileTests.originals[0].expected
            specification.requests.retries.on = []
            // Sets keep their elements in an order that depends on how they grew.
            specification.requests.retries.on.reserveCapacity(1 << seed)
            for reason in seed.isMultiple(of: 2) ? reasons : reasons.reversed() {
                specification.requests.retries.on.insert(reason)
            }
            texts.insert(try encoder.encode(DeployedAPIRecord(deployed(specification))))
        }
        #expect(texts.count == 1)
    }

    @Test("A13: a deployed API with its user's own text survives")
    func whole() throws {
        let api = deployed(GoodFileTests.originals[0].expected)
        #expect(try stored(api) == api)
    }
}
