import APIConfiguration
import Core
import Foundation
import Testing

@Suite("A13: a specification is stored and read back exactly")
struct StoredSpecificationTests {
    @Test("A13: every value survives, to the last digit", arguments: GoodFileTests.originals + GoodFileTests.extensions)
    func roundTrip(_ example: GoodFileTests.Case) throws {
        let data = try JSONEncoder().encode(example.expected)
        #expect(try JSONDecoder().decode(APISpecification.self, from: data) == example.expected)
    }

    @Test("A13: odd numbers survive")
    func oddNumbers() throws {
        var specification = GoodFileTests.originals[0].expected
        specification.requests.timeout = .nanoseconds(1_234_567_891)
        specification.requests.maxQueueTime = .seconds(365 * 86_400) + .nanoseconds(1)
        specification.autoscaling.targetInFlight = 0.1 + 0.2
        specification.autoscaling.maxUpscaleFactor = 1.0000000000000002
        specification.requests.maxPayload = .max
        let data = try JSONEncoder().encode(specification)
        #expect(try JSONDecoder().decode(APISpecification.self, from: data) == specification)
    }

    @Test("S3: the same specification is always the same text, so that digests of it agree")
    func deterministic() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let reasons = RetryPolicy.Reason.allCases
        var texts: Set<Data> = []
        for seed in 0..<16 {
            var policy = RetryPolicy(on: [])
            // Sets keep their elements in an order that depends on how they grew.
            policy.on.reserveCapacity(1 << seed)
            for reason in seed.isMultiple(of: 2) ? reasons : reasons.reversed() { policy.on.insert(reason) }
            texts.insert(try encoder.encode(policy))
        }
        #expect(texts.count == 1)
    }

    @Test("A13: a deployed API with its user's own text survives")
    func deployed() throws {
        let api = DeployedAPI(
            specification: GoodFileTests.originals[0].expected, id: "a", specID: "b", podID: "c", deploymentID: "d",
            initialDeployment: Timestamp(microseconds: 1_800_000_000_123_456),
            lastUpdated: Timestamp(microseconds: 1_800_000_001_654_321), submitted: "{\"name\":\"é😀\"}")
        #expect(try JSONDecoder().decode(DeployedAPI.self, from: JSONEncoder().encode(api)) == api)
    }
}
