import Access
import Core
import HTTPServing
import NIOHTTP1
import Synchronization
import Testing
import Wire

@testable import Operator

/// Every route of the operator with every kind of token.
@Suite("N1: what each token may do at the operator")
struct RightsTests {
    /// The kinds of tokens of pods whose replica runs, in the order of the columns below.
    private enum Role: CaseIterable {
        case none, readOwn, readForeign, ownOwn, ownForeign, full

        var api: String { self == .readForeign || self == .ownForeign ? "rose" : "iris" }

        var access: OperatorAccess {
            switch self {
            case .none: .none
            case .readOwn, .readForeign: .read
            case .ownOwn, .ownForeign: .own
            case .full: .full
            }
        }
    }

    /// Of each route of `iris`, whether a role may call it: `y` or `n` for each ``Role``; `open` for a route without a
    /// token.
    private static let expected: [String: String] = [
        "GET /healthz": "open", "GET /readyz": "open", "GET /verifycortex": "open", "GET /openapi.json": "open",
        "GET /info": "nyyyyy",
        "GET /health": "nnnnny",
        "GET /debug/state": "nnnnnn",
        "GET /get": "nyyyyy",
        "GET /get/{api}": "nyyyyy",
        "GET /get/{api}/{apiID}": "nnnyny",
        "GET /describe/{api}": "nynyny",
        "GET /logs/{api}": "nynyny",
        "GET /requests/{api}": "nynyny",
        "POST /retry/{api}/{id}": "nnnnny",
        "POST /refresh/{api}": "nnnyny",
        "POST /deploy": "nnnnny",
        "POST /rollback/{api}": "nnnnny",
        "POST /split/{api}": "nnnnny",
        "POST /schedules/{api}/{schedule}/run": "nnnnny",
        "POST /schedules/{api}/{schedule}/suspend": "nnnnny",
        "POST /schedules/{api}/{schedule}/resume": "nnnnny",
        "DELETE /delete/{api}": "nnnnny",
    ]

    private static let secret = "the-environment-of-iris"

    private static func prepare(_ fixture: Fixture, _ access: OperatorAccess) async throws {
        for name in ["iris", "rose"] {
            try await fixture.deploy(
                Fixture.file(
                    name, pod: ["operator_access: \(access.rawValue)"], container: ["env: {SECRET: \(secret)}"]))
            fixture.orchestrator.setStatus(
                APIStatus(
                    requested: 1,
                    replicas: [
                        ReplicaStatus(id: "\(name)-0", state: .ready, startedAt: Timestamp(seconds: 1_800_000_000))
                    ]), of: name)
        }
    }

    /// Calls a route of `iris`; a log is asked for by HEAD, as it has no end here.
    private static func call(_ fixture: Fixture, _ route: (method: HTTPMethod, pattern: String), token: String?)
        async throws -> Fixture.Reply
    {
        let path = route.pattern.replacing("{api}", with: "iris").replacing("{apiID}", with: "x")
            .replacing("{id}", with: "x").replacing("{schedule}", with: "x")
        return try await fixture.call(
            route.pattern.hasPrefix("/logs") ? .HEAD : route.method, path,
            body: route.pattern == "/deploy" ? Fixture.file("tulip") : nil,
            headers: token.map { ["Authorization": "Bearer \($0)"] } ?? [:], signed: false)
    }

    @Test("N1: every route with every role; one without an expectation fails")
    func everyRoute() async throws {
        try await Fixture.with(podAccessLimit: .full) { fixture in
            for route in fixture.operator.routes.entries {
                let name = "\(route.method.rawValue) \(route.pattern)"
                let row = try #require(Self.expected[name], "\(name) has no expectation")
                let isOpen = row == "open"
                for token in [nil, "wrong", "pod.iris.iris-0.full.AAAA", ""] {
                    let status = try await Self.call(fixture, route, token: token).status
                    #expect(isOpen ? status == 200 : status == 401, "\(name) with \(token ?? "no token")")
                }
                for (role, mark) in zip(Role.allCases, isOpen ? "yyyyyy" : row) {
                    try await Self.prepare(fixture, role.access)
                    let token = Fixture.podToken(role.api, "\(role.api)-0", role.access)
                    let reply = try await Self.call(fixture, route, token: token)
                    if mark == "y" {
                        #expect(![401, 403].contains(reply.status), "\(name) as \(role): \(reply.body)")
                    } else {
                        #expect(reply.status == 403, "\(name) as \(role): \(reply.status)")
                        guard !route.pattern.hasPrefix("/logs") else { continue }
                        let error = try reply.error
                        #expect(error.kind == "forbidden" && error.message.contains("pod.operator_access"))
                        #expect(!reply.body.contains(Self.secret))
                    }
                }
                try await Self.prepare(fixture, .read)
                let admin = try await Self.call(fixture, route, token: Fixture.token)
                #expect(![401, 403].contains(admin.status), "\(name) as the admin")
            }
        }
    }

    @Test("N1: a token dies with its replica and its API, and is none of another platform")
    func dead() async throws {
        try await Fixture.with { fixture in
            try await Self.prepare(fixture, .read)
            let token = Fixture.podToken("iris", "iris-0", .read)
            func status() async throws -> Int {
                try await Self.call(fixture, (.GET, "/get"), token: token).status
            }
            #expect(try await status() == 200)
            fixture.orchestrator.setStatus(.of(.ready, 0, requested: 1), of: "iris")
            #expect(try await status() == 401)
            try await Self.prepare(fixture, .read)
            #expect(try await status() == 200)
            #expect(try await fixture.call(.DELETE, "/delete/iris").status == 200)
            #expect(try await status() == 401)
            try await Self.prepare(fixture, .read)
            let foreign = TokenStore(admin: "another-admin-token", podKey: "another-key-of-a-platform")
                .token(for: PodClaim(api: "iris", replica: "iris-0", access: .full))
            #expect(try await Self.call(fixture, (.GET, "/get"), token: foreign).status == 401)
        }
    }

    @Test("J8, N1: a worker's token reads while its pod exists, and does not deploy")
    func worker() async throws {
        try await Fixture.with(podAccessLimit: .full) { fixture in
            try await fixture.deploy(JobKindTests.batch + JobKindTests.task)
            for (api, pod) in [("sum", "b-j1-0-a"), ("train", "t-j1-0-a")] {
                let token = Fixture.podToken(api, pod, .full)
                func status(_ method: HTTPMethod, _ path: String) async throws -> Int {
                    try await fixture.call(
                        method, path, body: method == .POST ? Fixture.file("tulip") : nil,
                        headers: ["Authorization": "Bearer \(token)"], signed: false
                    ).status
                }
                #expect(try await status(.GET, "/get") == 401)
                fixture.orchestrator.state.withLock { $0.workers[api] = [pod] }
                #expect(try await status(.GET, "/get") == 200)
                #expect(try await status(.GET, "/get/\(api)") == 200)
                #expect(try await status(.POST, "/deploy") == 403)
                fixture.orchestrator.state.withLock { $0.workers["other"] = [pod] }
                fixture.orchestrator.state.withLock { $0.workers[api] = [] }
                #expect(try await status(.GET, "/get") == 401, "a pod of another API")
            }
        }
    }

    @Test("N1: the present version and the platform may lower what a token says; nothing raises it")
    func lowered() async throws {
        try await Fixture.with(podAccessLimit: .full) { fixture in
            func status(_ claimed: OperatorAccess) async throws -> Int {
                try await Self.call(
                    fixture, (.POST, "/refresh/iris"), token: Fixture.podToken("iris", "iris-0", claimed)
                ).status
            }
            try await Self.prepare(fixture, .read)
            #expect(try await status(.own) == 403)
            try await Self.prepare(fixture, .full)
            #expect(try await status(.own) == 200)
            #expect(try await status(.read) == 403)
        }
        try await Fixture.with(podAccessLimit: .own) { fixture in
            try await Self.prepare(fixture, .own)
            let reply = try await Self.call(
                fixture, (.POST, "/deploy"), token: Fixture.podToken("iris", "iris-0", .full))
            #expect(reply.status == 403)
        }
    }

    @Test("N1: read shows an API without environment, volumes and what was submitted; own shows its own whole")
    func redacted() async throws {
        try await Fixture.with { fixture in
            try await Self.prepare(fixture, .own)
            func text(_ api: String, _ access: OperatorAccess) async throws -> String {
                let reply = try await fixture.call(
                    .GET, "/get/iris",
                    headers: ["Authorization": "Bearer \(Fixture.podToken(api, "\(api)-0", access))"], signed: false)
                #expect(reply.status == 200)
                #expect(try reply.decoded([APIDocument].self).first?.spec?.name == "iris")
                return reply.body
            }
            for (api, access) in [("iris", OperatorAccess.read), ("rose", .read), ("rose", .own)] {
                let body = try await text(api, access)
                #expect(!body.contains(Self.secret) && body.contains(#""submitted_api_spec":null"#))
            }
            #expect(try await text("iris", .own).contains(Self.secret))
        }
    }

    @Test(
        "N1: full is accepted at deploy only where the platform allows it; a field that is not used changes no identity"
    )
    func deploy() async throws {
        let file = Fixture.file("iris", pod: ["operator_access: full"])
        try await Fixture.with { fixture in
            let reply = try await fixture.deploy(file)
            #expect(reply.status == 400)
            #expect(try reply.error.message.contains("cortex up --allow-pod-operator-access full"))
            #expect(try reply.error.problems?.first?.line == 4)
            try await fixture.deploy(Fixture.file("iris"))
            let plain = try await fixture.call(.GET, "/get/iris").decoded([APIDocument].self).first?.spec?.podID
            try await fixture.deploy(Fixture.file("iris", pod: ["operator_access: read"]), "?force=true")
            let explicit = try await fixture.call(.GET, "/get/iris").decoded([APIDocument].self).first?.spec?.podID
            #expect(plain == explicit)
        }
        try await Fixture.with(podAccessLimit: .full) { fixture async throws in
            #expect(try await fixture.deploy(file).status == 200)
        }
    }

    @Test(
        "N5: a request with an Origin needs a token on every route, and without one it learns nothing",
        arguments: ["https://page.example", "null", "http://127.0.0.1:8888"])
    func origin(_ origin: String) async throws {
        try await Fixture.with { fixture in
            for route in fixture.operator.routes.entries + [(.GET, "/nothing/here"), (.OPTIONS, "/get")] {
                let reply = try await fixture.call(
                    route.method, route.pattern, headers: ["Origin": origin], signed: false)
                #expect(reply.status == 401, "\(route)")
                #expect(!reply.body.contains("/") && !reply.headers.contains(name: "Access-Control-Allow-Origin"))
            }
            let signed = try await fixture.call(.GET, "/healthz", headers: ["Origin": origin])
            #expect(signed.status == 200)
        }
    }
}
