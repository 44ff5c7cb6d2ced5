import Core
import HTTPServing
import NIOHTTP1
import StoreMemory
import Support
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

    /// An API of a kind that has every path below its endpoint.
    private final class AnyPath: EndpointHandler {
        let name: String
        init(_ name: String) { self.name = name }
        func serves(_ rest: Substring) -> Bool { true }
        func cors(_ rest: Substring) -> CORS { CORS(methods: []) }
        func respond(
            to request: IncomingRequest, at rest: Substring, body: inout IncomingBody
        ) async throws -> HTTPReply { .response(OutgoingResponse(status: .ok)) }
    }

    private static func table(_ endpoints: [String], _ handler: (DeployedAPI) -> any EndpointHandler) -> EndpointTable {
        EndpointTable(endpoints.map { .test(.test(name: $0, endpoint: $0)) }) { .replies(handler($0)) }
    }

    private static let table = table(["/a", "/a/b", "/a/b/c", "/über", "/x"]) { api in
        let (store, clock) = (MemoryStore(), SystemClock())
        let services = AsyncAPI.Services(
            store: store, clock: clock,
            makeID: { now in
                var random = SystemRandomNumberGenerator()
                return RequestID(now: now, using: &random)
            },
            waiting: WaitingCallers(store: store, clock: clock), spareDisk: { .max })
        switch api.specification.kind {
        case .async(let part): return AsyncAPI(api, part, services: services)
        case .realtime, .batch, .task, .trafficSplitter: fatalError("every API of this table is asynchronous")
        }
    }

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
        guard let match = Self.table.match(sample.path) else {
            #expect(sample.api == nil)
            return
        }
        #expect((match.replying as? AsyncAPI)?.name == sample.api)
        #expect(AsyncAPI.Path(match.rest) == sample.id.map(AsyncAPI.Path.request) ?? .requests)
    }

    @Test(
        "A4: the rest of a path reaches the kind's handler byte for byte, and belongs to the longest endpoint",
        arguments: [
            ("/r", "/r", ""), ("/r/", "/r", "/"), ("/r/a//b/../c;x=%2F", "/r", "/a//b/../c;x=%2F"),
            ("/%72/%zz/", "/r", "/%zz/"), ("/r/s/t", "/r/s/t", ""), ("/r/s", "/r", "/s"), ("/r/s%2Ft", "/r", "/s%2Ft"),
            ("/r/%73/t/1/2", "/r/s/t", "/1/2"), ("/r/s/tu", "/r", "/s/tu"), ("/rs", nil, ""), ("//r", nil, ""),
        ] as [(String, String?, String)])
    func rest(_ sample: (path: String, api: String?, rest: String)) {
        let match = Self.table(["/r", "/r/s/t"]) { AnyPath($0.name) }.match(sample.path)
        #expect((match?.replying as? AnyPath)?.name == sample.api)
        if let match { #expect(String(match.rest) == sample.rest) }
    }

    @Test("A4: a path of very many segments costs no more lookups than the endpoints have segments")
    func deepPath() {
        let table = Self.table(["/r", "/r/s"]) { AnyPath($0.name) }
        let path = "/r" + String(repeating: "/", count: 16 * 1024)
        let took = ContinuousClock().measure { for _ in 0..<1000 { _ = table.match(path) } }
        #expect(table.match(path)?.rest.utf8.count == 16 * 1024 && took < .seconds(5))
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

extension EndpointTable.Match {
    fileprivate var replying: (any EndpointHandler)? {
        if case .replies(let handler) = endpoint { handler } else { nil }
    }
}
