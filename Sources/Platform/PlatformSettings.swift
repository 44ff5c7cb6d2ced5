import Core
import EngineDocker
import Foundation
import HTTPServing
import StoreSQLite
import Yams

/// The settings of `cortex up` (contract U1). Each value comes from its flag, else its variable, else the file
/// `up.yaml` beside `cli.yaml`, else its default.
package struct PlatformSettings: Sendable, Hashable {
    /// `--engine`: the engine that runs the pods.
    package enum EngineChoice: String, Sendable, Hashable, CaseIterable {
        case auto
        case docker
        case sandbox
    }

    /// `--durability`: what a request survives once its id is returned.
    package enum Durability: String, Sendable, Hashable, CaseIterable {
        case full
        case normal
    }

    /// Absolute.
    var dataDirectory: String
    /// The address of the gateway.
    var host = "127.0.0.1"
    /// The address of the operator, independent of the gateway's.
    var operatorHost = "127.0.0.1"
    var gatewayPort = 8889
    var operatorPort = 8888
    var engine = EngineChoice.auto
    /// `nil`: the usual sockets are tried.
    var engineSocket: String?
    /// The networks that pods on Docker and Podman reach.
    var podNetwork = PodNetworkRules()
    var durability = Durability.full
    var diskReserve = DiskReserve.standard
    /// Addresses that may have more than a quarter of all connections.
    var trustedProxies: [AddressRange] = []
    /// The folder of the SQLite store; `nil`: the data directory.
    var storeDirectory: String?
    /// Absolute folders from which tokens other than the admin's may mount volumes (contract N2).
    var allowedVolumes: [String] = []
    /// Absolute folders whose files jobs may be made from (contract B4).
    var batchFolders: [String] = []
    /// The URL of the S3-compatible server that jobs read; `nil`: AWS.
    var s3Endpoint: String?
    /// The upper limit of `pod.operator_access` (contract N1).
    var podAccessLimit = OperatorAccess.own

    /// One setting: the name of its flag, its variable, and its key in `up.yaml`.
    package struct Key: Sendable, Hashable {
        var flag: String
        var variable: String
        var file: String

        package static let dataDirectory = Key(flag: "--data-dir", variable: "CORTEX_DATA_DIR", file: "data_dir")
        package static let host = Key(flag: "--host", variable: "CORTEX_HOST", file: "host")
        package static let operatorHost = Key(
            flag: "--operator-host", variable: "CORTEX_OPERATOR_HOST", file: "operator_host")
        package static let gatewayPort = Key(flag: "--port", variable: "CORTEX_GATEWAY_PORT", file: "port")
        package static let operatorPort = Key(
            flag: "--operator-port", variable: "CORTEX_OPERATOR_PORT", file: "operator_port")
        package static let engine = Key(flag: "--engine", variable: "CORTEX_ENGINE", file: "engine")
        package static let engineSocket = Key(
            flag: "--engine-socket", variable: "CORTEX_ENGINE_SOCKET", file: "engine_socket")
        package static let podNetwork = Key(flag: "--pod-network", variable: "CORTEX_POD_NETWORK", file: "pod_network")
        package static let store = Key(flag: "--store", variable: "CORTEX_STORE", file: "store")
        package static let durability = Key(flag: "--durability", variable: "CORTEX_DURABILITY", file: "durability")
        package static let diskReserve = Key(
            flag: "--disk-reserve", variable: "CORTEX_DISK_RESERVE", file: "disk_reserve")
        /// Several values, separated by commas.
        package static let trustedProxies = Key(
            flag: "--trusted-proxy", variable: "CORTEX_TRUSTED_PROXY", file: "trusted_proxy")
        package static let podAccess = Key(
            flag: "--allow-pod-operator-access", variable: "CORTEX_ALLOW_POD_OPERATOR_ACCESS",
            file: "allow_pod_operator_access")
        /// Repeatable: several flags, a list in the file, or values separated by `:` in the variable.
        package static let allowedVolumes = Key(
            flag: "--allow-volume", variable: "CORTEX_ALLOW_VOLUME", file: "allow_volume")
        /// Repeatable, as ``allowedVolumes``.
        package static let batchFolders = Key(
            flag: "--batch-files", variable: "CORTEX_BATCH_FILES", file: "batch_files")
        package static let s3Endpoint = Key(flag: "--s3-endpoint", variable: "CORTEX_S3_ENDPOINT", file: "s3_endpoint")

        package static let all = [
            dataDirectory, host, operatorHost, gatewayPort, operatorPort, engine, engineSocket, podNetwork, store,
            durability,
            diskReserve, trustedProxies, podAccess, allowedVolumes, batchFolders, s3Endpoint,
        ]
    }

    /// Resolves every setting and reports all problems at once.
    ///
    /// - Parameters:
    ///   - flags: the flags of the command line.
    ///   - lists: the flags that may be repeated.
    ///   - file: text of `up.yaml`; `nil` if there is none.
    /// - Throws: ``PlatformError`` `usage` that names each wrong value, its origin and the allowed values.
    package init(
        flags: [Key: String], lists: [Key: [String]] = [:], environment: [String: String], file: String?, home: String
    ) throws {
        var problems: [String] = []
        let values = Self.fileValues(file, &problems)

        func value(_ key: Key) -> (text: String, origin: String)? {
            if let text = flags[key] { return (text, key.flag) }
            if let text = environment[key.variable], !text.isEmpty { return (text, key.variable) }
            if let texts = values[key.file] {
                if texts.count == 1 { return (texts[0], "\(key.file) in up.yaml") }
                problems.append("\(key.file) in up.yaml must be a single value")
            }
            return nil
        }
        func list(_ key: Key) -> [String] {
            if let texts = lists[key], !texts.isEmpty { return texts }
            if let text = environment[key.variable], !text.isEmpty {
                return text.split(separator: ":").map(String.init)
            }
            return values[key.file] ?? []
        }
        func port(_ key: Key, default number: Int) -> Int {
            guard let (text, origin) = value(key) else { return number }
            guard let port = Int(text), (0...65535).contains(port) else {
                problems.append("\(origin) is \(Self.shown(text)); it must be a port from 0 (any free port) to 65535")
                return number
            }
            return port
        }
        func choice<Choice: RawRepresentable & CaseIterable>(_ key: Key, default choice: Choice) -> Choice
        where Choice.RawValue == String {
            guard let (text, origin) = value(key) else { return choice }
            guard let chosen = Choice(rawValue: text) else {
                let allowed = Choice.allCases.map(\.rawValue).joined(separator: ", ")
                problems.append("\(origin) is \(Self.shown(text)); it must be one of \(allowed)")
                return choice
            }
            return chosen
        }

        let directory = value(.dataDirectory)?.text ?? "\(home)/.cortex/local"
        self.dataDirectory = Self.absolute(directory, home: home)
        if let (text, _) = value(.host) { self.host = text }
        if let (text, _) = value(.operatorHost) { self.operatorHost = text }
        self.podAccessLimit = choice(.podAccess, default: OperatorAccess.own)
        self.allowedVolumes = list(.allowedVolumes).map { Self.absolute($0, home: home) }
        self.batchFolders = list(.batchFolders).map { Self.absolute($0, home: home) }
        self.s3Endpoint = value(.s3Endpoint)?.text
        self.gatewayPort = port(.gatewayPort, default: 8889)
        self.operatorPort = port(.operatorPort, default: 8888)
        self.engine = choice(.engine, default: EngineChoice.auto)
        self.engineSocket = value(.engineSocket)?.text
        if let (text, origin) = value(.podNetwork) {
            do {
                self.podNetwork = try PodNetworkRules(text.split { ", ".contains($0) }.map(String.init))
            } catch {
                problems.append("\(origin): \((error as? PlatformError)?.message ?? "\(error)")")
            }
        }
        self.durability = choice(.durability, default: Durability.full)
        if let (text, origin) = value(.diskReserve) {
            if let reserve = DiskReserve(text) {
                self.diskReserve = reserve
            } else {
                problems.append("\(origin) is \(text); it must be a size such as 2Gi or a part of the disk such as 10%")
            }
        }
        if let (text, origin) = value(.trustedProxies) {
            for item in text.split(separator: ",").map({ $0.filter { $0 != " " } }) where !item.isEmpty {
                if let range = AddressRange(item) {
                    trustedProxies.append(range)
                } else {
                    problems.append(
                        "\(origin) has \(item); it must be an IP address or a range such as 10.0.0.0/8")
                }
            }
        }
        if let (text, origin) = value(.store) {
            let name = SQLiteStore.name
            if text == name || text.hasPrefix("\(name):") {
                let path = text.drop { $0 != ":" }.dropFirst()
                if !path.isEmpty { self.storeDirectory = Self.absolute(String(path), home: home) }
            } else {
                problems.append(
                    "\(origin) is \(Self.shown(text)); it must be \(name), or \(name):DIRECTORY for another place than the data directory"
                )
            }
        }
        if gatewayPort != 0, gatewayPort == operatorPort {
            problems.append("--port and --operator-port are both \(gatewayPort); they must differ")
        }
        guard problems.isEmpty else { throw PlatformError(.usage, problems.joined(separator: "; ")) }
    }

    private static func fileValues(_ file: String?, _ problems: inout [String]) -> [String: [String]] {
        guard let file, !file.allSatisfy(\.isWhitespace) else { return [:] }
        guard let node = try? Yams.compose(yaml: file), let mapping = node.mapping else {
            problems.append("up.yaml is not a YAML mapping; write lines such as `port: 8889`")
            return [:]
        }
        var values: [String: [String]] = [:]
        let known = Set(Key.all.map(\.file))
        for (key, value) in mapping {
            guard let name = key.string, known.contains(name) else {
                problems.append(
                    "up.yaml has the unknown key \(key.string ?? "?"); the known keys are \(known.sorted().joined(separator: ", "))"
                )
                continue
            }
            let texts = value.sequence.map { $0.map { $0.scalar?.string } } ?? [value.scalar?.string]
            guard texts.allSatisfy({ $0 != nil }) else {
                problems.append(
                    "\(name) in up.yaml must be a single value, or a list of them where it may be given several times")
                continue
            }
            values[name] = texts.compactMap(\.self)
        }
        return values
    }

    /// A setting's value for a message: a URL or a list of connection parameters may contain a password (contract N9).
    static func shown(_ text: String) -> String {
        if let mark = text.firstRange(of: "://") { return text[..<mark.upperBound] + "…" }
        if text.contains("=") || text.contains("@") {
            return "a value that is not shown, because it may contain a password"
        }
        return text
    }

    private static func absolute(_ path: String, home: String) -> String {
        if path == "~" || path.hasPrefix("~/") { return home + path.dropFirst(1) }
        return URL(filePath: path).standardizedFileURL.path
    }
}
