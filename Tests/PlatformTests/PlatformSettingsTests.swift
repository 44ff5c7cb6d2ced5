import Core
import EngineDocker
import Testing

@testable import Platform

@Suite("U1: settings of cortex up")
struct PlatformSettingsTests {
    private func settings(
        _ flags: [PlatformSettings.Key: String] = [:], _ environment: [String: String] = [:], file: String? = nil
    ) throws -> PlatformSettings {
        try PlatformSettings(flags: flags, environment: environment, file: file, home: "/home/ada")
    }

    @Test("U1: the defaults")
    func defaults() throws {
        let settings = try settings()
        #expect(settings.dataDirectory == "/home/ada/.cortex/local")
        #expect(settings.host == "127.0.0.1" && settings.gatewayPort == 8889 && settings.operatorPort == 8888)
        #expect(settings.engine == .auto && settings.engineSocket == nil && settings.durability == .full)
    }

    @Test(
        "N10: --pod-network can be repeated, and be a variable or a line of the file; an invalid value is named with its origin"
    )
    func podNetwork() throws {
        #expect(try settings().podNetwork == .init())
        let flags = try settings([.podNetwork: "host,10.0.0.0/8"], ["CORTEX_POD_NETWORK": "none"]).podNetwork
        #expect(flags.reachesHost && flags.allowed == ["10.0.0.0/8"] && !flags.isClosed)
        #expect(try settings([:], ["CORTEX_POD_NETWORK": "none"]).podNetwork.isClosed)
        #expect(try settings(file: "pod_network: link-local\n").podNetwork.reachesLinkLocal)
        let error = #expect(throws: PlatformError.self) { _ = try settings([.podNetwork: "everything"]) }
        #expect(error?.message.contains("--pod-network") == true && error?.message.contains("everything") == true)
    }

    @Test("U1: flag before variable before file before default")
    func order() throws {
        let file = "port: 1\noperator_port: 2\nhost: 0.0.0.0\n"
        let settings = try settings(
            [.gatewayPort: "3"], ["CORTEX_GATEWAY_PORT": "4", "CORTEX_OPERATOR_PORT": "5"], file: file)
        #expect(settings.gatewayPort == 3 && settings.operatorPort == 5 && settings.host == "0.0.0.0")
    }

    @Test("U1, N1, N2: the operator has its own address, and pods have few rights by default")
    func operatorAndPods() throws {
        let plain = try settings([.host: "0.0.0.0"])
        #expect(plain.operatorHost == "127.0.0.1" && plain.podAccessLimit == .own && plain.allowedVolumes.isEmpty)
        let set = try settings(
            [.operatorHost: "::1", .podAccess: "full"], ["CORTEX_ALLOW_VOLUME": "/srv/a:~/b"],
            file: "allow_volume: [/c]\noperator_host: 10.0.0.1")
        #expect(set.operatorHost == "::1" && set.podAccessLimit == .full)
        #expect(set.allowedVolumes == ["/srv/a", "/home/ada/b"])
        #expect(try settings([:], [:], file: "allow_volume: [/c, /d]").allowedVolumes == ["/c", "/d"])
        let flags = try PlatformSettings(
            flags: [:], lists: [.allowedVolumes: ["/e"]], environment: [:], file: "allow_volume: /c", home: "/")
        #expect(flags.allowedVolumes == ["/e"])
        #expect(throws: PlatformError.self) { try settings([.podAccess: "all"]) }
        #expect(throws: PlatformError.self) { try settings([:], [:], file: "host: [a, b]") }
    }

    @Test("U1: --durability is full unless the flag, the variable or the file says normal, in this order")
    func durability() throws {
        #expect(try settings([.durability: "normal"]).durability == .normal)
        #expect(try settings([:], ["CORTEX_DURABILITY": "normal"]).durability == .normal)
        #expect(try settings([:], [:], file: "durability: normal").durability == .normal)
        #expect(try settings([.durability: "full"], ["CORTEX_DURABILITY": "normal"]).durability == .full)
        #expect(try settings([:], ["CORTEX_DURABILITY": "full"], file: "durability: normal").durability == .full)
    }

    @Test("U1: CORTEX_PORT is a variable of containers and is never read")
    func containerVariable() throws {
        #expect(try settings([:], ["CORTEX_PORT": "9"]).gatewayPort == 8889)
    }

    @Test("U1: the store is SQLite in the data directory, or in another directory")
    func store() throws {
        #expect(try settings([.store: "sqlite"]).storeDirectory == nil)
        #expect(try settings([.store: "sqlite:/var/queue"]).storeDirectory == "/var/queue")
    }

    @Test("N7: the reserve is a size or a share of the disk; N6: proxies are addresses or ranges")
    func reserveAndProxies() throws {
        #expect(try settings().diskReserve == .standard && settings().trustedProxies.isEmpty)
        #expect(try settings([.diskReserve: "2Gi"]).diskReserve.bytes(of: nil) == 2 << 30)
        #expect(try settings([:], ["CORTEX_DISK_RESERVE": "10%"]).diskReserve.bytes(of: 5000) == 500)
        #expect(try settings([:], [:], file: "disk_reserve: 7").diskReserve.bytes(of: 5000) == 7)
        #expect(try settings([.trustedProxies: "10.0.0.0/8, ::1"]).trustedProxies.count == 2)
        for (key, value) in [
            (PlatformSettings.Key.diskReserve, "-1"), (.diskReserve, "100%"), (.diskReserve, "much"),
            (.trustedProxies, "10.0.0.0/40"),
            (.trustedProxies, "proxy.example"),
        ] {
            let error = #expect(throws: PlatformError.self) { try settings([key: value]) }
            #expect(error?.message.contains(key.flag) == true && error?.message.contains(value) == true)
        }
    }

    @Test("U1: two ports may both be 0, otherwise they must differ")
    func samePort() throws {
        #expect(try settings([.gatewayPort: "0", .operatorPort: "0"]).gatewayPort == 0)
        #expect(throws: PlatformError.self) { try settings([.gatewayPort: "8888"]) }
    }

    @Test(
        "U5: each wrong value is named with its origin",
        arguments: [
            ([PlatformSettings.Key.gatewayPort: "x"], [:], nil, "--port is x"),
            ([.gatewayPort: "70000"], [:], nil, "--port is 70000"),
            ([:], ["CORTEX_ENGINE": "kvm"], nil, "CORTEX_ENGINE is kvm; it must be one of auto, docker, sandbox"),
            ([:], [:], "durability: none", "durability in up.yaml is none"),
            ([:], [:], "prot: 1", "unknown key prot"),
            ([:], [:], "- a", "not a YAML mapping"),
            ([.store: "postgres://x"], [:], nil, "it must be sqlite"),
        ] as [([PlatformSettings.Key: String], [String: String], String?, String)])
    func problems(
        flags: [PlatformSettings.Key: String], environment: [String: String], file: String?, message: String
    ) throws {
        let error = #expect(throws: PlatformError.self) { try settings(flags, environment, file: file) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test("U5: all problems are reported at once")
    func allProblems() throws {
        let error = #expect(throws: PlatformError.self) {
            try settings([.gatewayPort: "x", .engine: "y", .operatorPort: "z"])
        }
        #expect(error?.message.split(separator: ";").count ?? 0 >= 3)
    }
}
