import Core
import NIOHTTP1
import TestSupport
import Testing

@testable import Gateway

@Suite("Endpoints")
struct EndpointTests {
    @Test(
        "A13: an API is reachable the moment its deploy has returned, and gone when it is deleted; its kept requests come back with it"
    )
    func deployAndDelete() async throws {
        try await GatewayFixture.with(apis: []) { gateway in
            for round in 0..<5 {
                let path = "/new\(round)"
                #expect(try await gateway.send(.POST, path, body: [1]).status == 404)
                let api = DeployedAPI.test(.test(name: "new\(round)"))
                try await gateway.store.deploy(api, now: gateway.clock.now())
                let answer = try await gateway.send(.POST, path, body: [1])
                #expect(answer.status == 200)
                _ = try await gateway.store.delete(api: api.name, keepRequests: true, now: gateway.clock.now())
                #expect(try await eventually { try await gateway.send(.GET, "\(path)/\(answer.id)").status == 404 })
                #expect(try await gateway.send(.POST, path, body: [1]).status == 404)
                try await gateway.store.deploy(api, now: gateway.clock.now())
                #expect(try await gateway.send(.GET, "\(path)/\(answer.id)").text.contains("\"cancelled\""))
            }
        }
    }

    @Test("A13: an update takes effect without a restart")
    func update() async throws {
        try await GatewayFixture.with { gateway in
            let limited = APISpecification.test(requests: RequestPolicy(maxPayload: 1))
            try await gateway.store.deploy(.test(limited), now: gateway.clock.now())
            #expect(try await eventually { try await gateway.send(.POST, "/hello", body: [1, 2]).status == 413 })
            let moved = APISpecification.test(endpoint: "/moved")
            try await gateway.store.deploy(.test(moved), now: gateway.clock.now())
            #expect(try await gateway.send(.POST, "/moved", body: [1]).status == 200)
        }
    }

    @Test("A4: callers of unknown paths share their reads of the store")
    func misses() async throws {
        let store = FaultyStore()
        try await GatewayFixture.with(store: store) { gateway in
            await withTaskGroup(of: Void.self) { group in
                for index in 0..<100 {
                    group.addTask { _ = try? await gateway.send(.POST, "/unknown\(index)", body: [1]) }
                }
            }
            #expect(store.apiReads < 50)
        }
    }

    private static let table = EndpointTable(
        ["/a", "/a/b", "/a/b/c", "/über", "/x"].map { .test(.test(name: $0, endpoint: $0)) })

    @Test(
        "A4: the longest endpoint wins; one trailing slash and percent-encoding make no difference",
        arguments: [
            ("/a", "/a", nil), ("/a/", "/a", nil), ("/a/b", "/a/b", nil), ("/a/1", "/a", "1"), ("/a/b/1", "/a/b", "1"),
            ("/a/b/c", "/a/b/c", nil), ("/a/b/c/1/", "/a/b/c", "1"), ("/%61", "/a", nil), ("/%61/%31", "/a", "1"),
            ("/%C3%BCber", "/über", nil), ("/a/%62", "/a/b", nil), ("/%61/%62/c/%31", "/a/b/c", "1"),
            ("/a/b/%2F", nil, nil),
            ("/x//", "/x", ""), ("/a%2Fb", nil, nil), ("/", nil, nil), ("/A", nil, nil),
            ("//a", nil, nil), ("/a/1/2", nil, nil), ("/%zz", nil, nil), ("/../a", nil, nil), ("*", nil, nil),
        ] as [(String, String?, String?)])
    func match(_ sample: (path: String, api: String?, id: String?)) {
        switch Self.table.match(sample.path) {
        case .requests(let api)?: #expect(api.name == sample.api && sample.id == nil)
        case .request(let api, let id)?: #expect(api.name == sample.api && id == sample.id)
        case nil: #expect(sample.api == nil)
        }
    }

    @Test("A4: an API at the root has its requests right below it")
    func root() async throws {
        try await GatewayFixture.with(apis: [.test(endpoint: "/")]) { gateway in
            let answer = try await gateway.send(.POST, "/", body: [1])
            #expect(answer.headers["location"] == ["/\(answer.id)"])
            #expect(try await gateway.send(.GET, "/\(answer.id)").status == 200)
        }
    }
}
