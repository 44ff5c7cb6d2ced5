import Client
import Core
import Foundation
import StubPlatform
import TestSupport
import Testing

@testable import Commands

@Suite("S3: cortex rollback", .timeLimit(.minutes(2)))
struct RollbackTests {
    private func run(_ words: [String], _ answer: StubPlatform.Response) async throws -> (CortexProcess, String?) {
        try await withTemporaryDirectory { folder in
            try await StubPlatform.with { stub in
                try EnvironmentStore(directory: folder.path).update {
                    $0.put(Environment(name: "local", operatorEndpoint: stub.url, token: "secret"))
                }
                stub.on("POST /rollback/hello", answer)
                let process = try await CortexProcess.run(["rollback"] + words, folder: folder)
                return (process, stub.last("POST /rollback/hello")?.target)
            }
        }
    }

    @Test("S3: asks the operator for the version, or for the one before, and prints what it says")
    func asks() async throws {
        let answer = StubPlatform.Response.json(#"{"message":"rolling hello (AsyncAPI) back to v1"}"#)
        let (named, target) = try await run(["hello", "v1", "--force"], answer)
        #expect(named.status == 0 && named.output == "rolling hello (AsyncAPI) back to v1\n", "\(named)")
        #expect(target == "/rollback/hello?force=true&version=v1")
        let (before, bare) = try await run(["hello"], answer)
        #expect(before.status == 0)
        #expect(bare == "/rollback/hello?force=false")
    }

    @Test("S3: a refused rollback exits 1 with the operator's message")
    func refused() async throws {
        let (process, _) = try await run(
            ["hello"], .error(409, "asyncapi.api_updating", "hello (AsyncAPI) is updating: wait"))
        #expect(process.status == 1 && process.errors == "error: hello (AsyncAPI) is updating: wait\n", "\(process)")
    }
}
