import APIConfiguration
import Access
import AsyncHTTPClient
import Core
import Foundation
import HTTPServing
import Logging
import NIOCore
import NIOHTTP1
import Operator
import Reconciler
import ServiceLifecycle
import Support
import Synchronization
import TestSupport
import Testing
import Wire

/// An operator behind a real server on a free port, with everything around it in a test's hands.
struct Fixture: Sendable {
    static let token = "a-token-that-only-the-test-knows"
    static let tokens = TokenStore(admin: token, podKey: "a-key-that-only-the-test-knows")
    static let yaml = """
        - name: iris
          kind: AsyncAPI
          pod:
            containers:
              - name: api
                image: iris:1
        """

    let store: FlakyStore
    let orchestrator: FakeOrchestrator
    let clock: ManualClock
    let `operator`: Operator
    let reconciler: Reconciler
    let notReady: Box<[String]>
    let traffic: StubTraffic
    /// The splitters that were resumed.
    let resumed: Box<[String]>
    /// The jobs of each API that lists show.
    let jobs: Box<[String: [JobStatusDocument]]>
    let base: String
    let group: ServiceGroup

    /// Runs `body` with a serving operator, and stops it afterwards.
    static func with(
        podAccessLimit: OperatorAccess = .own, volumes: VolumePolicy = VolumePolicy(),
        submissions: @escaping SubmissionCheck = { _, _ in [] },
        _ body: (Fixture) async throws -> Void
    ) async throws {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let store = FlakyStore()
        let orchestrator = FakeOrchestrator()
        let clock = ManualClock()
        let notReady = Box<[String]>([])
        let traffic = StubTraffic()
        let resumed = Box<[String]>([])
        let jobs = Box<[String: [JobStatusDocument]]>([:])
        let reconciler = Reconciler(
            store: store, orchestrator: orchestrator, clock: clock, logger: logger,
            check: { try await volumes.obstacles(among: $0) })
        let cortexOperator = Operator(
            store: store, orchestrator: orchestrator, reconciler: reconciler,
            tokens: tokens, clock: clock,
            random: SeededGenerator(seed: 1),
            configuration: OperatorConfiguration(
                engine: "sandbox", podAccessLimit: podAccessLimit, volumes: volumes,
                kinds: Set(APIKind.allCases),
                addresses: {
                    PlatformAddresses(gateway: "http://127.0.0.1:8889", operator: "http://127.0.0.1:8888")
                },
                notReady: { notReady.value }, traffic: traffic,
                jobStatuses: { jobs.value[$0.name] ?? [] }, submissions: submissions,
                resumeSplit: { resumed.value.append($0) }),
            logger: logger)
        let server = HTTPServer(
            listeners: [.tcp(host: "127.0.0.1", port: 0)], clock: SystemClock(), logger: logger,
            errors: ErrorResponses(logger: logger),
            handler: { request, body in try await cortexOperator.respond(to: request, body: &body) })
        let group = ServiceGroup(configuration: .init(services: [server], logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            guard case .tcp(_, let port) = try await server.addresses()[0] else { return }
            let fixture = Fixture(
                store: store, orchestrator: orchestrator, clock: clock, operator: cortexOperator,
                reconciler: reconciler,
                notReady: notReady, traffic: traffic, resumed: resumed, jobs: jobs,
                base: "http://127.0.0.1:\(port)", group: group)
            do {
                try await body(fixture)
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    private init(
        store: FlakyStore, orchestrator: FakeOrchestrator, clock: ManualClock, operator: Operator,
        reconciler: Reconciler, notReady: Box<[String]>, traffic: StubTraffic, resumed: Box<[String]>,
        jobs: Box<[String: [JobStatusDocument]]>, base: String,
        group: ServiceGroup
    ) {
        self.store = store
        self.orchestrator = orchestrator
        self.clock = clock
        self.operator = `operator`
        self.reconciler = reconciler
        self.notReady = notReady
        self.traffic = traffic
        self.resumed = resumed
        self.jobs = jobs
        self.base = base
        self.group = group
    }

    // MARK: Calls

    struct Reply {
        var status: Int
        var headers: HTTPHeaders
        var body: String

        func decoded<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
            try JSONDecoder().decode(type, from: Data(body.utf8))
        }

        var error: ErrorDocument.Detail {
            get throws { try decoded(ErrorDocument.self).error }
        }
    }

    func call(
        _ method: HTTPMethod, _ target: String, body: String? = nil, headers: HTTPHeaders = [:], signed: Bool = true
    ) async throws -> Reply {
        let response = try await HTTPClient.shared.execute(
            request(method, target, body: body, headers: headers, signed: signed), timeout: .seconds(30))
        let bytes = try await response.body.collect(upTo: 16 << 20)
        return Reply(
            status: Int(response.status.code), headers: response.headers,
            body: String(decoding: bytes.readableBytesView, as: UTF8.self))
    }

    func request(
        _ method: HTTPMethod, _ target: String, body: String? = nil, headers: HTTPHeaders = [:], signed: Bool = true
    ) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: base + target)
        request.method = method
        request.headers = headers
        if signed { request.headers.add(name: "Authorization", value: "Bearer \(Self.token)") }
        if let body { request.body = .bytes(Array(body.utf8)) }
        return request
    }

    /// The token of a pod.
    static func podToken(_ api: String, _ replica: String, _ access: OperatorAccess) -> String {
        tokens.token(for: PodClaim(api: api, replica: replica, access: access))
    }

    /// A file with one API that has what stands in `pod`, a line each.
    static func file(_ name: String, pod: [String] = [], container: [String] = []) -> String {
        (["- name: \(name)", "  kind: AsyncAPI", "  pod:"] + pod.map { "    \($0)" }
            + ["    containers:", "      - name: api", "        image: \(name):1"]
            + container.map { "        \($0)" }).joined(separator: "\n") + "\n"
    }

    @discardableResult
    func deploy(_ yaml: String = Fixture.yaml, _ query: String = "") async throws -> Reply {
        try await call(.POST, "/deploy\(query)", body: yaml)
    }
}

/// A value that tests change while others read it.
final class Box<Value: Sendable>: Sendable {
    private let storage: Mutex<Value>

    init(_ value: Value) { storage = Mutex(value) }

    var value: Value {
        get { storage.withLock { $0 } }
        set { storage.withLock { $0 = newValue } }
    }
}

/// What a proxy would report; nothing about an API without a report.
final class StubTraffic: TrafficSource {
    let reports = Mutex<[String: TrafficReport]>([:])
    let splits = Mutex<[String: SplitReport]>([:])

    func traffic(of api: String) -> TrafficReport? { reports.withLock { $0[api] } }
    func split(of splitter: String) -> SplitReport? { splits.withLock { $0[splitter] } }
}
