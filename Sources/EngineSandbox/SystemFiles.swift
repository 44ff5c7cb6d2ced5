import Core
import Foundation
import PodInitProtocol

/// The files of `/etc` that a sandbox has of its own: names, users, and where names are looked up.
enum SystemFiles {
    /// The user that everything in a sandbox runs as.
    static let user = PodInitLimits.user
    static let home = "/home/cortex"

    /// File name → text.
    static func all(hostname: String, network: String) -> [String: String] {
        // The addresses are `PodInit`'s (PodNetwork); where it could make no veth pair it listens on the pod's own
        // loopback.
        let (gateway, operatorAddress) =
            network == "veth" ? ("169.254.77.1", "169.254.77.2") : ("127.0.0.80", "127.0.0.81")
        return [
            "hosts": """
            127.0.0.1 localhost \(hostname)
            ::1 localhost ip6-localhost ip6-loopback
            \(gateway) \(ClusterNames.gateway)
            \(operatorAddress) \(ClusterNames.operatorIngress) \(ClusterNames.operatorService)

            """,
            "hostname": hostname + "\n",
            "nsswitch.conf":
                "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n",
            "passwd": """
            root:x:0:0:root:/root:/bin/sh
            cortex:x:\(user):\(user):cortex:\(home):/bin/sh
            nobody:x:65534:65534:nobody:/nonexistent:/bin/false

            """,
            "group": "root:x:0:\ncortex:x:\(user):\nnogroup:x:65534:\n",
        ]
    }

    /// A host name has 63 characters at most.
    static func hostname(_ pod: String) -> String { String(pod.suffix(63)) }

    /// Written in place, so that containers that run see it too. Blocking.
    static func write(_ folder: PodFolder, network: String) throws {
        for (name, text) in all(hostname: hostname(folder.id), network: network) {
            try PodFolder.write(text, to: "\(folder.system)/\(name)", mode: 0o644)
        }
    }
}
