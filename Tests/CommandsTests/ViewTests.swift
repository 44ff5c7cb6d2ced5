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
