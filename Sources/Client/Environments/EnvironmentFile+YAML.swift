package import Core
import Foundation
import Yams

extension EnvironmentFile {
    /// Reads `cli.yaml`. An empty text is an empty file. Unknown keys inside an environment are kept, at the top they
    /// are refused.
    ///
    /// - Throws: ``PlatformError`` `setup`, saying what is wrong. The caller adds the path.
    package init(yaml: String) throws {
        let node: Node?
        do {
            node = try Yams.compose(yaml: yaml)
        } catch {
            throw PlatformError(.setup, "it is not YAML", cause: error)
        }
        self.init()
        guard let node, !Self.isNull(node) else { return }
        guard let mapping = node.mapping else {
            throw PlatformError(.setup, "it must be a map with default_environment and environments")
        }
        for (key, value) in mapping {
            switch key.string {
            case "telemetry":
                guard let flag = value.bool else { throw PlatformError(.setup, "telemetry must be true or false") }
                telemetry = flag
            case "default_environment":
                if Self.isNull(value) { continue }
                guard let name = value.string else {
                    throw PlatformError(.setup, "default_environment must be a name")
                }
                defaultEnvironment = name.isEmpty ? nil : name
            case "environments":
                if Self.isNull(value) { continue }
                guard let list = value.sequence else { throw PlatformError(.setup, "environments must be a list") }
                for (index, item) in list.enumerated() {
                    let environment = try Self.environment(item, path: "environments[\(index)]")
                    guard self[environment.name] == nil else {
                        throw PlatformError(.setup, "there are two environments \"\(environment.name)\"")
                    }
                    put(environment, adopting: false)
                }
            default:
                throw PlatformError(.setup, "it has an unknown key \"\(key.string ?? "?")\"")
            }
        }
        if let name = defaultEnvironment, self[name] == nil {
            throw PlatformError(.setup, "default_environment is \"\(name)\", which is not one of its environments")
        }
    }

    /// The text of `cli.yaml`.
    package func yaml() throws -> String {
        var root: [String: JSONValue] = ["default_environment": defaultEnvironment.map { .string($0) } ?? .null]
        if let telemetry { root["telemetry"] = .bool(telemetry) }
        root["environments"] = .array(
            environments.map { environment in
                var members = environment.extra
                members["name"] = .string(environment.name)
                members["operator_endpoint"] = .string(environment.operatorEndpoint)
                if let token = environment.token { members["token"] = .string(token) }
                if let socket = environment.operatorSocket { members["operator_socket"] = .string(socket) }
                return .object(members)
            })
        return try JSONValue.object(root).yaml()
    }

    private mutating func put(_ environment: Environment, adopting: Bool) {
        let present = defaultEnvironment
        put(environment)
        if !adopting { defaultEnvironment = present }
    }

    private static func environment(_ node: Node, path: String) throws -> Environment {
        guard let mapping = node.mapping else { throw PlatformError(.setup, "\(path) must be a map") }
        var environment = Environment(name: "", operatorEndpoint: "")
        for (key, value) in mapping {
            let text = isNull(value) ? nil : value.scalar?.string
            switch key.string {
            case "name":
                environment.name = text ?? ""
            case "operator_endpoint":
                environment.operatorEndpoint = text ?? ""
            case "token":
                environment.token = text.flatMap { $0.isEmpty ? nil : $0 }
            case "operator_socket":
                environment.operatorSocket = text.flatMap { $0.isEmpty ? nil : $0 }
            case "provider":
                guard text == nil || text == "" || text == "aws" else {
                    throw PlatformError(.setup, "\(path).provider is \"\(text ?? "")\"; remove the key")
                }
                environment.extra["provider"] = JSONValue(node: value)
            case let name?:
                environment.extra[name] = JSONValue(node: value)
            case nil:
                continue
            }
        }
        guard !environment.name.isEmpty else { throw PlatformError(.setup, "\(path).name is missing") }
        guard environment.name.count <= Environment.nameLimit else {
            throw PlatformError(.setup, "\(path).name is longer than \(Environment.nameLimit) characters")
        }
        guard !environment.operatorEndpoint.isEmpty else {
            throw PlatformError(.setup, "\(path).operator_endpoint is missing (environment \"\(environment.name)\")")
        }
        return environment
    }

    private static func isNull(_ node: Node) -> Bool {
        node.any is NSNull
    }
}

extension JSONValue {
    /// This value as YAML in block style, keys sorted.
    package func yaml() throws -> String {
        let encoder = YAMLEncoder()
        encoder.options.sortKeys = true
        encoder.options.allowUnicode = true
        encoder.options.width = -1
        encoder.options.indent = 2
        return try encoder.encode(YAMLForm(value: self))
    }

    /// With numbers as people write them: `0.05`, which the YAML encoder makes `5e-2` of.
    private struct YAMLForm: Encodable {
        var value: JSONValue

        func encode(to encoder: any Encoder) throws {
            switch value {
            case .number(let number):
                var container = encoder.singleValueContainer()
                if let decimal = Decimal(string: "\(number)"), "\(number)".count < 30 {
                    try container.encode(decimal)
                } else {
                    try container.encode(number)
                }
            case .array(let values):
                var container = encoder.unkeyedContainer()
                for value in values { try container.encode(YAMLForm(value: value)) }
            case .object(let members):
                var container = encoder.container(keyedBy: Key.self)
                for (name, value) in members { try container.encode(YAMLForm(value: value), forKey: Key(name)) }
            default: try value.encode(to: encoder)
            }
        }

        struct Key: CodingKey {
            var stringValue: String
            var intValue: Int? { nil }

            init(_ name: String) { stringValue = name }
            init?(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }
    }

    /// What a YAML node says; a key that is not a text is left out.
    init(node: Node) {
        switch node {
        case .mapping(let mapping):
            var members: [String: JSONValue] = [:]
            for (key, value) in mapping {
                if let name = key.string { members[name] = JSONValue(node: value) }
            }
            self = .object(members)
        case .sequence(let sequence):
            self = .array(sequence.map(JSONValue.init(node:)))
        case .scalar, .alias:
            switch node.any {
            case is NSNull: self = .null
            case let value as Bool: self = .bool(value)
            case let value as Int: self = .integer(Int64(value))
            case let value as Double: self = .number(value)
            case let value as String: self = .string(value)
            default: self = .string(node.scalar?.string ?? "")
            }
        }
    }
}
