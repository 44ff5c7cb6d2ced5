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

        var subnets: [IPv4Subnet] {
            (addressManagement?.pools ?? []).compactMap { $0.subnet.flatMap { IPv4Subnet($0) } }
        }
    }

    /// `GET /networks`
    func networks() async throws -> [Network] {
        try await call(.GET, "/networks").succeeding().decode([Network]?.self) ?? []
    }

    /// `GET /networks/{name}`; `nil` when there is none.
    func network(_ name: String) async throws -> Network? {
        let reply = try await call(.GET, "/networks/\(Self.encode(name))").succeeding(404)
        return reply.status == 404 ? nil : try reply.decode(Network.self)
    }

    /// `POST /networks/create`: a bridge. Addresses are handed out from the upper half, so that the lower half is free for fixed ones.
    /// The bridge's name is given too: two Podmans that know nothing of each other would choose the same one.
    func createNetwork(
        _ name: String, bridge: String, subnet: IPv4Subnet, labels: [String: String]
    ) async throws {
        let body: JSONValue = [
            "Name": .string(name), "Driver": "bridge", "CheckDuplicate": true,
            "IPAM": [
                "Driver": "default",
                "Config": [
                    [
                        "Subnet": .string(subnet.description), "Gateway": .string(subnet.address(1)),
                        "IPRange": .string(subnet.upperHalf.description),
                    ]
                ],
            ],
            "Labels": .strings(labels), "Options": ["com.docker.network.bridge.name": .string(bridge)],
        ]
        _ = try await call(.POST, "/networks/create", json: body).succeeding()
    }

    /// `DELETE /networks/{name}`; a missing one is fine.
    func removeNetwork(_ name: String) async throws {
        _ = try await call(.DELETE, "/networks/\(Self.encode(name))").succeeding(404)
    }
}
