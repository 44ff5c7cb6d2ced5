import Core
import Foundation
import TestSupport
import Testing

extension EngineCheck {
    static let network: [EngineCheck] = [
        EngineCheck("C7: a port is refused until something listens inside the pod, also on 127.0.0.1 only") { fixture in
            try await fixture.withPod([fixture.agent(), late(fixture, "127.0.0.1")]) { (plan) async throws in
                _ = try await Agent.run("result = 1", in: plan.id, of: fixture.engine)
                let connector = fixture.engine.connector(pod: plan.id)
                for _ in 0..<3 {
                    let error = await #expect(throws: PlatformError.self) {
                        let descriptor = try await connector.connect(port: 9000)
                        close(descriptor)
                    }
                    #expect(error?.code == .connectionFailed)
                }
                _ = try await Agent.run("result = open('/mnt/go', 'w').write('1')", in: plan.id, of: fixture.engine)
                let descriptor = try await Agent.connected(connector, 9000)
                #expect(try await HTTPWire.exchange([], over: descriptor) == "late")
            }
        },
        EngineCheck("C7: a server that listens on ::1 only is reached") { fixture in
            try await fixture.withPod([fixture.agent(), late(fixture, "::1")]) { (plan) async throws in
                _ = try await Agent.run("result = open('/mnt/go', 'w').write('1')", in: plan.id, of: fixture.engine)
                let descriptor = try await Agent.connected(fixture.engine.connector(pod: plan.id), 9000)
                #expect(try await HTTPWire.exchange([], over: descriptor) == "late")
            }
        },
        EngineCheck("C7: many connections at once, and one that is kept, carry what they should") { fixture in
            try await fixture.withPod([fixture.agent()]) { (plan) async throws in
                let answers = try await withThrowingTaskGroup(of: JSON.self) { group in
                    for number in 0..<32 {
                        group.addTask {
                            try await Agent.run("result = \(number) * 2", in: plan.id, of: fixture.engine)
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(Set(answers.map { "\($0)" }).count == 32)
                let descriptor = try await fixture.engine.connector(pod: plan.id).connect(port: 8080)
                let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nresult = 1"
                let last = post.replacingOccurrences(of: "Host: a", with: "Connection: close\r\nHost: a")
                let both = try await HTTPWire.exchange(Array((post + last).utf8), over: descriptor)
                #expect(both.components(separatedBy: "200 OK").count == 3)
            }
        },
        EngineCheck("C8: containers share localhost and a writable /mnt, which is empty at the start") { fixture in
            try await fixture.withPod([fixture.agent(), fixture.agent("second", port: 9000)]) { (plan) async throws in
                let list = "import os; result = os.listdir('/mnt')"
                #expect(try await Agent.run(list, in: plan.id, of: fixture.engine) == [])
                let write = "result = open('/mnt/shared', 'w').write('from second')"
                #expect(try await Agent.run(write, in: plan.id, of: fixture.engine, port: 9000) == 11)
                let read = "result = open('/mnt/shared').read()"
                #expect(try await Agent.run(read, in: plan.id, of: fixture.engine) == "from second")
                let call = """
                    import urllib.request
                    result = urllib.request.urlopen("http://localhost:9000/", data=b"result = 'neighbour'").read().decode()
                    """
                #expect(try await Agent.run(call, in: plan.id, of: fixture.engine) == "\"neighbour\"")
            }
        },
        EngineCheck(
            "C10: the cluster's names reach gateway and operator from every container, while the pod itself serves on port 80"
        ) {
            fixture in
            try await StubServer.with("gateway", at: fixture.gatewaySocket) { gateway in
                try await StubServer.with("operator", at: fixture.operatorSocket) { _ in
                    let containers = [fixture.agent(host: "0.0.0.0", port: 80), fixture.agent("second", port: 9000)]
                    try await fixture.withPod(containers) { (plan) async throws in
                        for port in [80, 9000] {
                            let answer = try await Agent.run(names, in: plan.id, of: fixture.engine, port: port)
                            #expect(
                                answer == [
                                    ["gateway", "POST", "/hello", .string(ClusterNames.gateway), 4],
                                    ["gateway", "GET", "/hello/id", .string(ClusterNames.gateway), 0],
                                    ["operator", "GET", "/", .string(ClusterNames.operatorIngress), 0],
                                    [
                                        "operator", "POST", "/", .string(ClusterNames.operatorService + ":8888"),
                                        3_000_000,
                                    ],
                                ])
                        }
                        #expect(gateway.bodies.filter { $0 == "body" }.count == 2)
                        let own =
                            "import urllib.request; result = urllib.request.urlopen('http://localhost:80/', data=b'result=8').read().decode()"
                        #expect(try await Agent.run(own, in: plan.id, of: fixture.engine, port: 9000) == "8")
                    }
                }
            }
        },
        EngineCheck("C10: a platform that comes back is reached again") { fixture in
            let call =
                "import urllib.request; result = urllib.request.urlopen('http://\(ClusterNames.gateway)/').status"
            try await StubServer.with("operator", at: fixture.operatorSocket) { _ in
                try await fixture.withPod([fixture.agent()]) { (plan) async throws in
                    for _ in 0..<2 {
                        try await StubServer.with("gateway", at: fixture.gatewaySocket) { _ async throws in
                            #expect(try await Agent.run(call, in: plan.id, of: fixture.engine) == 200)
                        }
                    }
                }
            }
        },
    ]

    /// Two requests on one connection to the gateway, a small one and a large one to the operator.
    private static let names = """
        import http.client, json
        def call(connection, method, path, body=None):
            connection.request(method, path, body)
            return json.loads(connection.getresponse().read())
        gateway = http.client.HTTPConnection("\(ClusterNames.gateway)", timeout=30)
        result = [call(gateway, "POST", "/hello", b"body"), call(gateway, "GET", "/hello/id")]
        result.append(call(http.client.HTTPConnection("\(ClusterNames.operatorIngress)", timeout=30), "GET", "/"))
        result.append(call(http.client.HTTPConnection("\(ClusterNames.operatorService)", 8888, timeout=30), "POST", "/", b"x" * 3000000))
        """

    /// A server on port 9000 that says `late`, once `/mnt/go` exists.
    private static func late(_ fixture: EngineFixture, _ host: String) -> ContainerPlan {
        let source = """
            import os, socket, time
            while not os.path.exists("/mnt/go"): time.sleep(0.01)
            server = socket.create_server(("\(host)", 9000), family=socket.AF_INET6 if ":" in "\(host)" else socket.AF_INET)
            while True:
                connection, _ = server.accept()
                connection.sendall(b"late")
                connection.close()
            """
        return fixture.container("late", ["python3", "-c", source])
    }
}
