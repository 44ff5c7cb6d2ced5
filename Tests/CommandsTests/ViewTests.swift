import Client
import Core
import Testing
import Wire

@testable import Commands

@Suite("O2: the tables")
struct ViewTests {
    private let replicas = [
        Fixtures.replica("hello-b", .ready), Fixtures.replica("hello-a", .readyOutOfDate),
        Fixtures.replica("hello-c", .killedOOM, reason: "out of memory\nagain", restarts: 4),
    ]

    @Test("O2: get lists APIs with env, name, live, up-to-date and age, sorted")
    func list() {
        let rows = [
            APITable.Row(environment: "local", api: Fixtures.api("ocr", requested: 3, replicas: replicas)),
            APITable.Row(environment: "local", api: Fixtures.api("hello", ago: .seconds(18_360))),
        ]
        #expect(
            APITable.render(rows, showsEnvironment: true, now: Fixtures.now, style: .plain) == """
                env     async api   live   up-to-date   last update
                local   hello       0/1    0            5h6m
                local   ocr         2/3    1            12s
                """)
        #expect(
            APITable.render(rows, showsEnvironment: false, now: Fixtures.now, style: .plain).hasPrefix(
                "async api   live"))
    }

    @Test("O2: get API adds the endpoint, the queue and the history; verbose adds the specification")
    func one() throws {
        let api = Fixtures.api("hello", replicas: [replicas[0]], reason: "pulling image", history: true)
        let text = try APIView.render(
            api, environment: "local", showsEnvironment: false, verbose: false, now: Fixtures.now, style: .plain)
        #expect(
            text == """
                async api   live   up-to-date   last update
                hello       1/1    1            12s

                endpoint: http://127.0.0.1:8889/hello
                requests: 3 in queue, 1 in progress
                held back: pulling image

                api id     last deployed
                hello-id   12s
                """)
        let verbose = try APIView.render(
            api, environment: "local", showsEnvironment: false, verbose: true, now: Fixtures.now, style: .plain)
        #expect(verbose.contains("\n\nconfiguration\nautoscaling:\n"))
        #expect(verbose.contains("\n    - args: null\n") || verbose.contains("\n  - args: null\n"))
    }

    @Test("S4: describe shows the replica states of the original, rare ones only where there are any")
    func describe() {
        let api = Fixtures.api("hello", requested: 3, replicas: replicas)
        #expect(
            DescribeView.render(
                api, environment: "local", showsEnvironment: true, now: Fixtures.now, style: .plain) == """
                    env     async api   live   up-to-date   last update
                    local   hello       2/3    1            12s

                    endpoint: http://127.0.0.1:8889/hello
                    requests: 3 in queue, 1 in progress

                    replica status                     replica count
                    Requested                          3
                    Pending                            0
                    Creating                           0
                    NotReady                           0
                    Ready                              1
                    ReadyOutOfDate                     1
                    Terminating                        0
                    KilledOOM                          1

                    replica   status           restarts   in flight   age    reason
                    hello-a   ReadyOutOfDate   0          1           3m4s
                    hello-b   Ready            0          1           3m4s
                    hello-c   KilledOOM        4          1           3m4s   out of memory again
                    """)
    }

    @Test("R24: a RealtimeAPI is listed under its own title, and shown with its requests of now and the last minute")
    func realtime() throws {
        let traffic = TrafficReport(
            perSecond: 12.53, counts: .init(success2xx: 740, client4xx: 3, server5xx: 1, platformErrors: 7), p50: 4.2,
            p90: 40, p99: 12_340, waiting: 3, inside: 8, upgraded: 2,
            replicas: ["chat-a": .init(inside: 8, success2xx: 740, server5xx: 1, p99: 40)])
        let replicas = [
            Fixtures.replica("chat-a", .ready), Fixtures.replica("chat-b", .creating, reason: "pulling its image"),
        ]
        let api = Fixtures.api("chat", kind: .realtime, requested: 2, replicas: replicas, traffic: traffic)
        let text = DescribeView.render(
            api, environment: "local", showsEnvironment: false, now: Fixtures.now, style: .plain)
        #expect(
            text.hasPrefix(
                """
                realtime api   live   up-to-date   last update
                chat           1/2    1            12s

                endpoint: http://127.0.0.1:8889/chat
                requests: 3 waiting, 8 inside (2 upgraded)
                last minute: 13 per second; 740 2xx, 3 4xx, 1 5xx, 7 platform errors
                latency: p50 4.2 ms, p90 40 ms, p99 12.3 s

                replica status
                """), "\(text)")
        #expect(
            text.hasSuffix(
                """
                replica   status     restarts   inside   2xx   5xx   p99     age    reason
                chat-a    Ready      0          8        740   1     40 ms   3m4s
                chat-b    Creating   0          0        0     0     -       3m4s   pulling its image
                """), "\(text)")
        let narrow = TextStyle(isTerminal: true, hasColor: false, size: .init(columns: 80, rows: 24))
        let shown = DescribeView.render(
            api, environment: "local", showsEnvironment: true, now: Fixtures.now, style: narrow)
        #expect(shown.split(separator: "\n").allSatisfy { $0.count <= 80 }, "\(shown)")
        let idle = Fixtures.api("chat", kind: .realtime, traffic: TrafficReport())
        let quiet = try APIView.render(
            idle, environment: "local", showsEnvironment: false, verbose: false, now: Fixtures.now, style: .plain)
        #expect(quiet.hasSuffix("requests: 0 waiting, 0 inside\nlast minute: no requests"), "\(quiet)")
    }

    @Test("X11: splitters are listed after the APIs with the number of their targets")
    func splitters() {
        var canary = Fixtures.splitter("canary")
        canary.status = StatusDocument(SplitReport(state: .guarded, since: Fixtures.now))
        let rows = [canary, Fixtures.api("chat", kind: .realtime), Fixtures.api("hello")].map {
            APITable.Row(environment: "local", api: $0)
        }
        #expect(
            APITable.render(rows, showsEnvironment: true, now: Fixtures.now, style: .plain) == """
                env     realtime api   live   up-to-date   last update
                local   chat           0/1    0            12s

                env     async api   live   up-to-date   last update
                local   hello       0/1    0            12s

                env     traffic splitter   apis   last update
                local   canary             3      12s
                """)
    }

    @Test("X11: the state of a splitter is fixed, guarded with the target's name, or rolled back with the reason")
    func splitStates() {
        func shown(_ report: SplitReport) -> String {
            var api = Fixtures.splitter("canary")
            api.status = StatusDocument(report)
            return SplitterView.traffic(of: api, now: Fixtures.now, style: .plain)
        }
        #expect(shown(SplitReport(state: .fixed, since: Fixtures.now)).hasSuffix("\nstate: fixed"))
        #expect(shown(SplitReport(state: .guarded, since: Fixtures.now)).hasSuffix("\nstate: guarded (hello)"))
        let rolledBack = shown(
            SplitReport(
                state: .rolledBack, api: "v2", weight: 10, reason: "too slow", since: Fixtures.now - .seconds(70)))
        #expect(
            rolledBack.hasSuffix(
                "\nrolled back: v2 from weight 10, 1m10s ago: too slow\nto resume: cortex split canary --resume"))
    }

    @Test(
        "R24, X11: figures never round to none or all",
        arguments: [
            (nil, "-"), (0, "0%"), (0.0004, "<0.1%"), (0.001, "0.1%"), (0.5, "50.0%"), (0.9994, "99.9%"),
            (0.9999, ">99.9%"), (1, "100%"),
        ] as [(Double?, String)])
    func figures(share: Double?, text: String) {
        #expect(TrafficFigure.percent(share) == text)
    }

    @Test("O3: requests are listed newest first, with what went wrong")
    func requests() throws {
        let id = try #require(RequestID("0190f3a2-5d1c-7aaa-8bbb-1234567890ab"))
        let failed = RequestRecord(
            id: id, api: "hello", status: .failed, attempts: 2, submittedAt: Fixtures.now - .seconds(70),
            endedAt: Fixtures.now - .seconds(5), failure: RequestFailure(.timeout, "too slow"))
        let waiting = RequestRecord(
            id: id, api: "hello", status: .inQueue, attempts: 0, submittedAt: Fixtures.now - .seconds(1))
        #expect(
            RequestsView.render([waiting, failed].map(RequestDocument.init), now: Fixtures.now, style: .plain) == """
                id                                     status     attempts   submitted   ended   error
                0190f3a2-5d1c-7aaa-8bbb-1234567890ab   in_queue   0          1s          -
                0190f3a2-5d1c-7aaa-8bbb-1234567890ab   failed     2          1m10s       5s      timeout: too slow
                """)
        #expect(RequestsView.render([], now: Fixtures.now, style: .plain) == "no requests")
    }

    @Test("O2: env list shows which is the default and which lacks a token; its JSON is the original's")
    func environments() throws {
        let file = EnvironmentFile(
            defaultEnvironment: "local",
            environments: [
                Environment(name: "local", operatorEndpoint: "http://127.0.0.1:8888", token: "secret"),
                Environment(name: "office", operatorEndpoint: "https://example.com"),
            ])
        #expect(
            EnvironmentsView.render(file, style: .plain) == """
                local (default)
                cortex operator endpoint: http://127.0.0.1:8888

                office
                cortex operator endpoint: https://example.com
                token: none
                """)
        #expect(
            try Fixtures.json(EnvironmentsView.Document(file)) == """
                {
                  "default_environment" : "local",
                  "environments" : [
                    {
                      "name" : "local",
                      "operator_endpoint" : "http://127.0.0.1:8888"
                    },
                    {
                      "name" : "office",
                      "operator_endpoint" : "https://example.com"
                    }
                  ]
                }
                """)
        #expect(
            try Fixtures.json(EnvironmentsView.Document(EnvironmentFile())).contains("\"default_environment\" : null"))
    }
}
