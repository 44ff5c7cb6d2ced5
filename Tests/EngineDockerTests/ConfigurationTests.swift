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
        let environment = ["DOCKER_HOST": "unix:///a.sock", "XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/me"]
        #expect(
            DockerEngineConfiguration.usualSockets(environment: environment) == [
                "/a.sock", "/var/run/docker.sock", "/run/user/7/docker.sock", "/run/user/7/podman/podman.sock",
                "/run/podman/podman.sock", "/home/me/.docker/run/docker.sock",
            ])
        #expect(
            DockerEngineConfiguration.usualSockets(environment: ["DOCKER_HOST": "tcp://1.2.3.4"]).first
                == "/var/run/docker.sock")
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
