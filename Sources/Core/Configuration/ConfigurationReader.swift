/// Reads nodes of a file by a schema: collects every problem, and what is good.
struct ConfigurationReader {
    private let file: String
    /// The schema of the whole, to say where a key that stands in the wrong place belongs.
    private let root: SchemaObject
    /// The API whose fields are being read.
    var api: String?
    private(set) var problems: [ConfigurationProblem] = []

    init(file: String, root: SchemaObject = AsyncAPISchema.root) {
        self.file = file
        self.root = root
    }

    mutating func report(
        _ mark: SourceMark, _ path: String, _ kind: ConfigurationProblem.Kind, _ message: String,
        suggestion: String? = nil
    ) {
        guard problems.count <= Limits.configurationProblems else { return }
        let isLast = problems.count == Limits.configurationProblems
        problems.append(
            ConfigurationProblem(
                file: file, line: mark.line, column: mark.column, api: isLast ? nil : api, path: isLast ? "" : path,
                kind: isLast ? .tooManyProblems : kind,
                message: isLast
                    ? "more than \(Limits.configurationProblems) problems; the rest is not listed" : message,
                suggestion: isLast ? nil : suggestion))
    }

    /// Reads a map with known keys.
    mutating func read(_ node: YAMLNode, as schema: SchemaObject, path: String) -> ConfigurationObject? {
        guard case .mapping(let entries) = node.content else {
            report(node.mark, path, .wrongType, "must be a map, found \(node.described)")
            return nil
        }
        var object = ConfigurationObject(mark: node.mark)
        var meant: Set<String> = []
        for entry in entries {
            let fieldPath = join(path, entry.key)
            guard let field = schema.field(entry.key) else {
                if let key = reportUnknown(entry, path: fieldPath, schema) { meant.insert(key) }
                continue
            }
            guard !entry.value.isNull else {
                readNull(entry, field, path: fieldPath, into: &object)
                continue
            }
            object.given.insert(field.key)
            object.fields[field.key] = read(entry.value, as: field.type, path: fieldPath)
        }
        let written = Set(entries.map(\.key))
        for field in schema.fields where object.fields[field.key] == nil && !object.given.contains(field.key) {
            if written.contains(field.key), !isAbsentWhenNull(field) { continue }
            fill(field, path: path, mark: node.mark, unlessMeant: meant, into: &object)
        }
        for rule in schema.rules {
            for violation in rule.check(object) {
                report(
                    violation.mark, violation.path.isEmpty ? path : join(path, violation.path), violation.kind,
                    violation.message)
            }
        }
        return object
    }

    // MARK: Fields that are absent or null

    private func isAbsentWhenNull(_ field: SchemaField) -> Bool {
        if case .asAbsent = field.null { true } else { false }
    }

    private mutating func readNull(
        _ entry: YAMLNode.Entry, _ field: SchemaField, path: String, into object: inout ConfigurationObject
    ) {
        switch field.null {
        case .asAbsent: break
        case .asNone: object.fields[field.key] = .init(content: .none, mark: entry.value.mark, isDefault: false)
        case .refused:
            let wayOut =
                switch field.presence {
                case .required: "it is required"
                case .default(let text): "leave the key out for the default (\(text))"
                case .defaultList(let texts): "leave the key out for the default (\(texts.joined(separator: ", ")))"
                case .derived(let text): "leave the key out for the default (\(text))"
                case .optional, .defaultObject: "leave the key out"
                }
            report(entry.value.mark, path, .nullNotAllowed, "must not be null; \(wayOut)")
        }
    }

    private mutating func fill(
        _ field: SchemaField, path: String, mark: SourceMark, unlessMeant meant: Set<String>,
        into object: inout ConfigurationObject
    ) {
        let node: YAMLNode
        switch field.presence {
        case .optional, .derived: return
        case .required:
            // The misspelt key that was meant is already reported.
            if !meant.contains(field.key) {
                report(mark, join(path, field.key), .missing, "is missing; it must be \(field.type.described)")
            }
            return
        case .default(let text): node = YAMLNode(scalar: YAMLScalar(text, isPlain: true), mark: mark)
        case .defaultList(let texts):
            node = YAMLNode(
                sequence: texts.map { YAMLNode(scalar: YAMLScalar($0, isPlain: false), mark: mark) }, mark: mark)
        case .defaultObject: node = YAMLNode(mapping: [], mark: mark)
        }
        var value = read(node, as: field.type, path: join(path, field.key))
        value?.isDefault = true
        object.fields[field.key] = value
    }

    // MARK: Unknown keys

    /// - Returns: the known key that was probably meant.
    private mutating func reportUnknown(_ entry: YAMLNode.Entry, path: String, _ schema: SchemaObject) -> String? {
        let known = schema.fields.map(\.key)
        let suggestion = NearestKey.find(entry.key, among: known)
        var message = "unknown key \(entry.key.quoted)"
        if suggestion == nil {
            let places = root.places(of: entry.key)
            if places.isEmpty {
                message += "; allowed are \(known.joined(separator: ", "))"
            } else {
                message += "; it belongs \(places.joined(separator: " or "))"
            }
        }
        report(entry.keyMark, path, .unknownKey, message, suggestion: suggestion)
        return suggestion
    }

    func join(_ path: String, _ key: String) -> String {
        let name = key.shortened(to: 80)
        return path.isEmpty ? name : "\(path).\(name)"
    }
}

extension SchemaObject {
    /// Where a key is known: `at the top level of the API`, `in pod.containers[].compute`. At most three places.
    func places(of key: String) -> [String] {
        var found: [String] = []
        func search(_ object: SchemaObject, _ path: String) {
            if object.field(key) != nil { found.append(path.isEmpty ? "at the top level of the API" : "in \(path)") }
            for field in object.fields {
                let inner = path.isEmpty ? field.key : "\(path).\(field.key)"
                switch field.type {
                case .object(let child): search(child, inner)
                case .list(of: .object(let child), _, _): search(child, "\(inner)[]")
                default: break
                }
            }
        }
        search(self, "")
        return Array(found.prefix(3))
    }
}
