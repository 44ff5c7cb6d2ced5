import Core
import NIOHTTP1

extension DockerClient {
    struct Network: Sendable, Decodable {
        struct AddressManagement: Sendable, Decodable {
            struct Pool: Sendable, Decodable {
                var subnet: String?
                enum CodingKeys: String, CodingKey { case subnet = "Subnet" }
            }
            var pools: [Pool]?
            enum CodingKeys: String, CodingKey { case pools = "Config" }
        }
        var name: String?
        var labels: [String: String]?
        var addressManagement: AddressManagement?
        enum CodingKeys: String, CodingKey {
            case name = "Name"
            case labels = "Labels"
            case addressManagement = "IPAM"
        }

        var subnets: [IPv4Subnet] { blocks.compactMap { IPv4Subnet($0) } }
        /// All blocks of addresses as the engine writes them, IPv6 as well.
        var blocks: [String] { (addressManagement?.pools ?? []).compactMap(\.subnet) }
    }

    /// `GET /networks`: those that could be read.
    func networks() async throws -> [Network] {
        try await list(Network.self, "/networks").objects
    }

    /// `GET /networks/{name}`; `nil` when there is none.
    func network(_ name: String) async throws -> Network? {
        let reply = try await call(.GET, "/networks/\(Self.encode(name))").succeeding(404)
        return reply.status == 404 ? nil : try reply.decode(Network.self)
    }

    /// Makes a bridge for pods. Addresses are handed out from the upper half, so that the lower half is free for fixed
    /// ones. The bridge's name is given too: two Podmans that know nothing of each other would choose the same one.
    ///
    /// Containers on it do not reach each other where the engine can see to that, and the engine's name server does not
    /// tell their names where that can be switched off. ``PodInit`` closes what remains.
    func createNetwork(
        _ name: String, bridge: String, subnet: IPv4Subnet, labels: [String: String], isPodman: Bool
    ) async throws {
        if isPodman {
            // Only Podman's own API can leave out the name server.
            let body: JSONValue = [
                "name": .string(name), "driver": "bridge", "network_interface": .string(bridge), "dns_enabled": false,
                "subnets": [
                    [
                        "subnet": .string(subnet.description), "gateway": .string(subnet.address(1)),
                        "lease_range": [
                            "start_ip": .string(subnet.upperHalf.address(1)),
                            "end_ip": .string(subnet.upperHalf.lastHost),
                        ],
                    ]
                ],
                "labels": .strings(labels), "options": ["isolate": "true"],
            ]
            _ = try await call(.POST, "/libpod/networks/create", json: body, version: "4.0.0").succeeding()
            return
        }
        let body: JSONValue = [
            "Name": .string(name), "Driver": "bridge", "CheckDuplicate": true, "EnableIPv6": false,
            "IPAM": [
                "Driver": "default",
                "Config": [
                    [
                        "Subnet": .string(subnet.description), "Gateway": .string(subnet.address(1)),
                        "IPRange": .string(subnet.upperHalf.description),
                    ]
                ],
            ],
            "Labels": .strings(labels),
            "Options": [
                "com.docker.network.bridge.name": .string(bridge), "com.docker.network.bridge.enable_icc": "false",
            ],
        ]
        _ = try await call(.POST, "/networks/create", json: body).succeeding()
    }

    /// `DELETE /networks/{name}`; a missing one is fine.
    func removeNetwork(_ name: String) async throws {
        _ = try await call(.DELETE, "/networks/\(Self.encode(name))").succeeding(404)
    }
}
