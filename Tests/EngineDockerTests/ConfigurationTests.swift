import Core
import Testing

@testable import EngineDocker

@Suite("What the engine needs to know")
struct ConfigurationTests {
    @Test("C10: a subnet is read and written", arguments: ["10.0.0.0/8", "192.168.7.0/24", "0.0.0.0/0", "10.1.2.3/32"])
    func subnets(text: String) {
        #expect(IPv4Subnet(text)?.description == text)
    }

    @Test(
        "C10: what is no subnet is refused",
        arguments: ["", "10.0.0.0", "10.0.0/8", "10.0.0.0/33", "10.0.0.256/8", "a/8", "10.0.0.0/-1"])
    func badSubnets(text: String) {
        #expect(IPv4Subnet(text) == nil)
    }

    @Test("C10: a free block touches no route and no network, and is found wherever the search begins")
    func free() throws {
        let table = """
            Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
            eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
            br0\t0000800A\t00000000\t0001\t0\t0\t0\t0000C0FF\t0\t0\t0
            """
        let routes = IPv4Subnet.routes(in: table)
        #expect(routes.map(\.description) == ["192.0.2.0/24", "10.128.0.0/10"])
        let taken = routes + [try #require(IPv4Subnet("10.192.16.0/24"))]
        for seed: UInt32 in [0, 1, 1025, 2047, .max] {
            let free = try #require(IPv4Subnet.free(besides: taken, seed: seed))
            #expect(!taken.contains { $0.overlaps(free) })
            #expect(free.prefix == 20)
        }
        #expect(IPv4Subnet.free(besides: [try #require(IPv4Subnet("10.0.0.0/8"))], seed: 3) == nil)
    }

    @Test("C10: fixed addresses are in the lower half, handed-out ones in the upper")
    func halves() throws {
        let subnet = try #require(IPv4Subnet("10.201.16.0/20"))
        #expect(subnet.address(1) == "10.201.16.1")
        #expect(subnet.upperHalf.description == "10.201.24.0/21")
        #expect(!subnet.upperHalf.overlaps(IPv4Subnet(base: subnet.base, prefix: 24)))
    }

    @Test("C12: limits are taken from this process")
    func limits() {
        let text =
            "Limit                     Soft Limit           Hard Limit           Units\nMax processes             100                  200                  processes\nMax open files            1024                 unlimited            files\n"
        #expect(DockerEngineConfiguration.hardLimit("Max processes", in: text) == 200)
        #expect(DockerEngineConfiguration.hardLimit("Max open files", in: text) == .max)
        #expect(DockerEngineConfiguration.hardLimit("Max other", in: text) == 4096)
        let usual = DockerEngineConfiguration.usualUlimits()
        #expect(usual.map(\.name) == ["nofile", "nproc"])
        #expect(usual.allSatisfy { $0.soft <= $0.hard && $0.soft > 0 })
    }

    @Test("U1: sockets are looked for where engines listen")
    func sockets() {
        let environment = ["XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/me"]
        #expect(
            DockerEngineConfiguration.usualSockets(environment: environment) == [
                "/var/run/docker.sock", "/run/user/7/docker.sock", "/run/user/7/podman/podman.sock",
                "/run/podman/podman.sock", "/home/me/.docker/run/docker.sock",
            ])
    }

    @Test(
        "U5: DOCKER_HOST and CONTAINER_HOST are used or refused by name, never skipped; no credential is repeated",
        arguments: [
            ([:], nil), (["DOCKER_HOST": ""], nil), (["DOCKER_HOST": "unix:///a.sock"], "/a.sock"),
            (["CONTAINER_HOST": "unix:///b.sock"], "/b.sock"),
            (["DOCKER_HOST": "unix:///a.sock", "CONTAINER_HOST": "tcp://1.2.3.4"], "/a.sock"),
        ] as [([String: String], String?)])
    func named(environment: [String: String], path: String?) throws {
        #expect(try DockerEngineConfiguration.namedSocket(environment: environment)?.path == path)
    }

    @Test(
        "U5: a DOCKER_HOST that is no unix socket is refused in one line",
        arguments: [
            "tcp://1.2.3.4:2375", "ssh://me:secret@host", "npipe:////./pipe/x", "/a.sock", "unix://a.sock", "fd://",
        ])
    func unusable(value: String) {
        let error = #expect(throws: PlatformError.self) {
            try DockerEngineConfiguration.namedSocket(environment: ["DOCKER_HOST": value])
        }
        #expect(error?.code == .setup)
        #expect(error?.message.hasPrefix("DOCKER_HOST is ") == true && error?.message.contains("\n") == false)
        #expect(error?.message.contains("secret") == false)
    }

    @Test(
        "N10: --pod-network opens or closes what a pod reaches",
        arguments: [
            ([], "10.0.0.5/32", true), ([], "169.254.0.0/16", true), ([], "10.128.0.0/20", true),
            ([], "255.255.255.255/32", true), ([], "0.0.0.0/0", false), (["host"], "10.0.0.5/32", false),
            (["host"], "169.254.0.0/16", true), (["link-local"], "169.254.0.0/16", false),
            (["link-local"], "10.0.0.5/32", true), (["none"], "0.0.0.0/0", true), (["none"], "::/0", true),
        ] as [([String], String, Bool)])
    func podNetwork(words: [String], block: String, isBlocked: Bool) throws {
        let blocks = try PodNetworkRules(words).blocks(host: ["10.0.0.5", "fd00::5"], networks: ["10.128.0.0/20"])
        #expect(blocks.blocked.contains(block) == isBlocked)
        #expect(blocks.allowed == (words == ["host"] ? ["10.0.0.5/32", "fd00::5/128"] : []))
    }

    @Test("N10: blocks of addresses stay reachable beside none; what is no network is refused")
    func podNetworkBlocks() throws {
        let rules = try PodNetworkRules(["none", "10.1.0.0/16", "fd00::1", "192.168.1.5"])
        #expect(rules.blocks(host: [], networks: []).allowed == ["10.1.0.0/16", "fd00::1/128", "192.168.1.5/32"])
        for bad in [
            ["all"], ["10.0.0.0/33"], ["10.0.0/8"], ["none", "host"], ["none", "link-local"], [""], ["::/129"],
        ] {
            #expect(throws: PlatformError.self, "\(bad)") { try PodNetworkRules(bad) }
        }
    }

    @Test("N10: name servers of this machine itself are left out of a pod's list")
    func resolver() {
        let local = "# comment\nnameserver 127.0.0.53\nsearch home\n"
        let real = "nameserver 192.168.1.1\nnameserver ::1\noptions edns0\n"
        #expect(ContainerBody.resolver(of: [local, real]) == "nameserver 192.168.1.1\noptions edns0\n")
        #expect(ContainerBody.resolver(of: [local, nil]) == nil)
    }

    @Test("U4: an installation's id comes from its folder")
    func installation() {
        let id = DockerEngineConfiguration.installationID(dataDirectory: "/srv/cortex/")
        #expect(id == DockerEngineConfiguration.installationID(dataDirectory: "/srv/./cortex"))
        #expect(id != DockerEngineConfiguration.installationID(dataDirectory: "/srv/other"))
        #expect(id.utf8.count == 12)
    }

    @Test("C9: of a variable that is set twice the last one holds")
    func environment() {
        let set = [EnvironmentVariable("A", "1"), EnvironmentVariable("B", "2"), EnvironmentVariable("A", "3")]
        #expect(ContainerBody.environment(set) == ["B=2", "A=3"])
    }
}
