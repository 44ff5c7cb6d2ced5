package import Core

/// The reference page of `cortex.yaml` as Markdown, generated from the reader's table, so that it cannot differ from
/// it.
package enum ConfigurationReference {
    /// The reference page as Markdown.
    ///
    /// - Parameter served: the kinds that this release serves.
    package static func page(served: Set<APIKind> = APIKind.served) -> String {
        var parts = [introduction, complete(.async)]
        if served.contains(.realtime) { parts.append(comparison(.realtime, heading: "##")) }
        for kind in [APIKind.batch, .task] where served.contains(kind) {
            parts.append(comparison(kind, heading: "##"))
        }
        if served.contains(.trafficSplitter) { parts.append(complete(.trafficSplitter)) }
        let others = APIKind.allCases.filter { !served.contains($0) }
        if !others.isEmpty { parts.append(otherKinds(others)) }
        parts += [ConfigurationGuide.yaml, ConfigurationGuide.problems()]
        return parts.joined(separator: "\n\n") + "\n"
    }

    private static let introduction = """
        # cortex.yaml

        <!-- Generated from the table in Sources/APIConfiguration/Schema; CONTRIBUTING.md says how. Do not edit. -->

        A `cortex.yaml` is a list of APIs. `cortex deploy` reads it, reports all of its problems at once, and deploys all of its APIs or none.
        The minimum is a name, a kind and a container:

        ```yaml
        - name: hello
          kind: AsyncAPI
          pod:
            containers:
              - name: api
                image: registry.example.com/team/hello:1.0
        ```

        `cortex deploy --check cortex.yaml` only checks the file and prints the next three times of each schedule; no running platform is needed. `cortex schema > cortex.schema.json` writes
        the same rules as a JSON Schema (2020-12). Editors with YAML support (VS Code, JetBrains, Neovim, Helix) complete and check the file
        with it if its first line is

        ```yaml
        # yaml-language-server: $schema=cortex.schema.json
        ```
        """

    // MARK: Every field of a kind

    private static func complete(_ kind: APIKind) -> String {
        var sections = ["## \(kind.rawValue)"]
        collect(APISchema.root(of: kind), path: "", into: &sections)
        return sections.joined(separator: "\n\n")
    }

    /// A section for the object, then one for each object in it.
    private static func collect(_ object: SchemaObject, path: String, into sections: inout [String]) {
        sections.append(section(object, path: path))
        for field in object.fields {
            let inner = path.isEmpty ? field.key : "\(path).\(field.key)"
            switch field.type {
            case .object(let child): collect(child, path: inner, into: &sections)
            case .list(of: .object(let child), _, _): collect(child, path: "\(inner)[]", into: &sections)
            default: break
            }
        }
    }

    private static func section(_ object: SchemaObject, path: String) -> String {
        var lines = [
            "### \(path.isEmpty ? "The API" : "`\(path)`")", "", "| field | type | default | rule | meaning |",
            "|---|---|---|---|---|",
        ]
        lines += object.fields.map { "| `\($0.key)` | " + cells(of: $0).joined(separator: " | ") + " |" }
        if !object.rules.isEmpty { lines += [""] + object.rules.map { "- \($0.summary)" } }
        return lines.joined(separator: "\n")
    }

    /// Type, default, rule and meaning.
    private static func cells(of field: SchemaField) -> [String] {
        let null =
            switch field.null {
            case .refused: ""
            case .asAbsent, .asNone: ", or null"
            }
        let isUnsupported = if case .unsupported = field.type { true } else { false }
        return [
            field.type.name + (isUnsupported ? "" : null), defaultText(of: field), field.type.rule ?? "",
            field.summary,
        ].map(escaped)
    }

    private static func defaultText(of field: SchemaField) -> String {
        switch field.presence {
        case .required: return "**required**"
        case .default(let text): return "`\(text)`" + (isNone(field) ? "; null: none" : "")
        case .defaultList(let texts): return "`[\(texts.map { $0 == "*" ? "\"*\"" : $0 }.joined(separator: ", "))]`"
        case .derived(let text): return text
        case .optional: return field.isRequired ? "**required**" : "none"
        case .defaultObject: return field.isRequired ? "**required**" : "its fields' defaults"
        }
    }

    private static func isNone(_ field: SchemaField) -> Bool {
        if case .asNone = field.null { true } else { false }
    }

    private static func escaped(_ text: String) -> String { text.replacing("|", with: "\\|") }

    // MARK: Kinds by comparison with AsyncAPI

    private static func otherKinds(_ kinds: [APIKind]) -> String {
        let names = kinds.map { "`\($0.rawValue)`" }.joined(separator: ", ")
        let text = """
            ## Other kinds

            \(names) of the original Cortex are not served by this version. They are checked by the rules below, and then
            refused: a file with one of them is not deployed.
            """
        return ([text] + kinds.map { comparison($0, heading: "###") }).joined(separator: "\n\n")
    }

    /// The fields that a kind has and AsyncAPI does not, and the reverse.
    private static func comparison(_ kind: APIKind, heading: String) -> String {
        let async = flattened(APISchema.root(of: .async))
        let own = flattened(APISchema.root(of: kind))
        let known = Dictionary(uniqueKeysWithValues: async.map { ($0.path, cells(of: $0.field)) })
        let different = own.filter {
            $0.path != "kind" && known[$0.path] != cells(of: $0.field)
        }
        let present = Set(own.map(\.path))
        let absent = async.map(\.path).filter { path in
            !present.contains(path) && !async.contains { isInside(path, $0.path) && !present.contains($0.path) }
        }
        let summary = own.first { $0.path == "kind" }?.field.summary ?? ""
        var lines = ["\(heading) \(kind.rawValue)", "", summary]
        if !different.isEmpty {
            lines += ["", "| field | type | default | rule | meaning |", "|---|---|---|---|---|"]
            lines += different.map { "| `\($0.path)` | " + cells(of: $0.field).joined(separator: " | ") + " |" }
        }
        let rules = APISchema.root(of: kind).allRules.filter { rule in
            !APISchema.root(of: .async).allRules.contains { $0.summary == rule.summary }
        }
        if !rules.isEmpty { lines += [""] + rules.map { "- \($0.summary)" } }
        let list = absent.map { "`\($0)`" }.joined(separator: ", ")
        lines += ["", "Everything else is as in an AsyncAPI, except that there is no \(list)."]
        return lines.joined(separator: "\n")
    }

    private static func isInside(_ path: String, _ outer: String) -> Bool {
        path.hasPrefix(outer + ".") || path.hasPrefix(outer + "[]")
    }

    private static func flattened(_ object: SchemaObject, path: String = "") -> [(path: String, field: SchemaField)] {
        object.fields.flatMap { field -> [(path: String, field: SchemaField)] in
            let inner = path.isEmpty ? field.key : "\(path).\(field.key)"
            switch field.type {
            case .object(let child): return [(inner, field)] + flattened(child, path: inner)
            case .list(of: .object(let child), _, _): return [(inner, field)] + flattened(child, path: "\(inner)[]")
            default: return [(inner, field)]
            }
        }
    }
}
