import Core
import Support
import Wire
import Yams

/// A deployed API as a `cortex.yaml` of its own: what its user wrote, with what depended on the file's place made
/// absolute.
struct ExportedAPI: Sendable {
    let name: String
    private let submitted: JSONValue
    private let header: String

    /// Keys in the order in which people write them; all others follow by name.
    private static let order = ["name", "kind", "image", "networking", "pod", "autoscaling"]

    init(spec: SpecDocument, cluster: String) {
        self.name = spec.name
        self.submitted = Self.absolute(spec.submittedAPISpec, volumes: spec.pod.containers.map(\.volumes))
        self.header = "# \(spec.name) as deployed at \(cluster), version \(spec.id)".inOneLine
    }

    /// The file's text.
    func yaml() throws -> String {
        try "\(header)\n"
            + Yams.serialize(node: .sequence(.init([Self.node(submitted)])), indent: 2, width: -1, allowUnicode: true)
    }

    private static func absolute(_ submitted: JSONValue, volumes: [[String]]) -> JSONValue {
        guard case .object(var api) = submitted, case .object(var pod)? = api["pod"],
            case .array(var containers)? = pod["containers"]
        else { return submitted }
        for index in containers.indices where index < volumes.count {
            guard case .object(var container) = containers[index], container["volumes"] != nil else { continue }
            container["volumes"] = .array(volumes[index].map { .string($0) })
            containers[index] = .object(container)
        }
        pod["containers"] = .array(containers)
        api["pod"] = .object(pod)
        return .object(api)
    }

    private static func node(_ value: JSONValue) -> Node {
        switch value {
        case .null: return Node("null", Tag(.null))
        case .bool(let value): return Node(value ? "true" : "false", Tag(.bool))
        case .integer(let value): return Node("\(value)", Tag(.int))
        case .number(let value): return Node("\(value)", Tag(.float))
        case .string(let value): return text(value)
        case .array(let values): return .sequence(.init(values.map(node)))
        case .object(let members):
            let keys = order.filter { members[$0] != nil } + members.keys.filter { !order.contains($0) }.sorted()
            return .mapping(.init(keys.map { (text($0), node(members[$0] ?? .null)) }))
        }
    }

    /// Words whose bare form is not a text, in one version of YAML or another.
    private static let reserved: Set<String> = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"]

    /// Quoted unless it is plain beyond doubt.
    private static func text(_ text: String) -> Node {
        let isPlain =
            text.wholeMatch(of: /[A-Za-z_\/][A-Za-z0-9_.\/@-]*(:[A-Za-z0-9_.\/@-]+)*/) != nil
            && !reserved.contains(text.lowercased())
        if isPlain { return Node(text) }
        let isOneLine = text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
        return Node(text, Tag(.str), isOneLine ? .singleQuoted : .doubleQuoted)
    }
}
