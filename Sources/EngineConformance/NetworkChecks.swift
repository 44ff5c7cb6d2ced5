import Core
import Foundation
import TestSupport
import Testing

extension EngineCheck {
    static let network: [EngineCheck] = [
        EngineCheck("C7: a port is refused until a process listens inside the pod, also only on 127.0.0.1") { fixture in
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
        EngineCheck("C7: many connections at once, and a kept one, transfer the correct bytes") { fixture in
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
            "C10: the cluster's names reach gateway and operator from every container, also if the pod serves on port 80"
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
        EngineCheck(
            "N10: a pod reaches no other pod, no address of this machine, no link-local and no metadata address"
        ) {
            fixture in
            try await fixture.withPod([fixture.agent(host: "0.0.0.0")]) { (other) async throws in
                let addresses = try await Agent.run(own, in: other.id, of: fixture.engine)
                try await fixture.withPod([fixture.agent(host: "0.0.0.0")]) { (plan) async throws in
                    let targets = try JSONEncoder().encode(hostAddresses() + addresses.strings)
                    let reached = "others = \(String(decoding: targets, as: UTF8.self))\n" + reached
                    #expect(try await Agent.run(reached, in: plan.id, of: fixture.engine) == [])
                    // Its own addresses are its own.
                    let itself = """
                        import urllib.request
                        result = urllib.request.urlopen("http://127.0.0.1:8080/", data=b"result = 1").read().decode()
                        """
                    #expect(try await Agent.run(itself, in: plan.id, of: fixture.engine) == "1")
                }
            }
        },
        EngineCheck("C10: a restarted platform is reached again") { fixture in
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

    /// The addresses of a pod but for the loopback, with those of its routers.
    private static let own = """
        import fcntl, socket, struct
        result = []
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _, name in socket.if_nameindex():
            if name == "lo": continue
            try: result.append(socket.inet_ntoa(fcntl.ioctl(probe, 0x8915, struct.pack("256s", name.encode()))[20:24]))
            except OSError: pass
        for line in open("/proc/net/if_inet6"):
            words = line.split()
            if words[5] != "lo": result.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[0])))
        interfaces = set(result)
        for line in list(open("/proc/net/route"))[1:]:
            router = int(line.split()[2], 16)
            if router: result.append(socket.inet_ntoa(struct.pack("<I", router)))
        """

    /// Which of `others`, and of what no pod may reach, a route leads to. A datagram socket that connects sends
    /// nothing.
    private static let reached =
        own + """

            result = []
            metadata = ["169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254", "fe80::1"]
            for address in sorted(set(others)) + metadata + ["255.255.255.255", "224.0.0.251"]:
                if address in interfaces: continue
                for index, name in socket.if_nameindex():
                    if name == "lo": continue
                    family = socket.AF_INET6 if ":" in address else socket.AF_INET
                    target = (address, 8080, 0, index) if ":" in address else (address, 8080)
                    try:
                        # On a link of the pod's own there is a route to any such address: somebody has to answer.
                        kind = socket.SOCK_STREAM if address.startswith("fe80") else socket.SOCK_DGRAM
                        with socket.socket(family, kind) as probe:
                            probe.settimeout(1)
                            probe.connect(target)
                        if address not in result: result.append(address)
                    except OSError: pass
            """

    /// The addresses of the machine of the tests but for the loopback.
    private static func hostAddresses() throws -> [String] {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&first) == 0 else { throw PlatformError(.setup, "no addresses of this machine") }
        defer { freeifaddrs(first) }
        var found: [String] = []
        var next = first
        while let current = next {
            next = current.pointee.ifa_next
            guard let address = current.pointee.ifa_addr else { continue }
            let family = CInt(address.pointee.sa_family)
            guard family == AF_INET || family == AF_INET6 else { continue }
            let length = family == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
            var name = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            guard getnameinfo(address, socklen_t(length), &name, socklen_t(name.count), nil, 0, NI_NUMERICHOST) == 0
            else { continue }
            let text = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let plain = String(text.prefix { $0 != "%" })
            if !plain.hasPrefix("127."), plain != "::1" { found.append(plain) }
        }
        return found
    }

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
