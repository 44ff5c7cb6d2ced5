import Core
import Foundation
import Records
import Testing

@testable import Operator

@Suite("Identifiers of versions")
struct IdentifierTests {
    private static func golden(_ number: Int) throws -> DeployedAPI {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "StoreTests/Golden/format1/versions/\(number).json")
        return try JSONDecoder().decode(DeployedAPIRecord.self, from: Data(contentsOf: file)).api
    }

    @Test(
        "S3: versions that an earlier release deployed keep their identifiers, so an upgrade restarts no pod",
        arguments: 1...3)
    func frozen(_ number: Int) throws {
        let api = try Self.golden(number)
        #expect(try Identifiers.podID(of: api.specification) == api.podID)
        #expect(try Identifiers.specID(of: api.specification, podID: api.podID) == api.specID)
    }

    @Test("S3: what touches the pod changes its digest, and what does not touch it does not")
    func changes() throws {
        let api = try Self.golden(2)
        var pod = api.specification
        pod.pod.containers[0].env["NAME"] = "other"
        #expect(try Identifiers.podID(of: pod) != api.podID)
        var access = api.specification
        #expect(access.pod.operatorAccess == .read)
        access.pod.operatorAccess = .own
        #expect(try Identifiers.podID(of: access) != api.podID)
        var rest = api.specification
        rest.requests.timeout = .seconds(1)
        #expect(try Identifiers.podID(of: rest) == api.podID)
        #expect(try Identifiers.specID(of: rest, podID: api.podID) != api.specID)
    }
}
