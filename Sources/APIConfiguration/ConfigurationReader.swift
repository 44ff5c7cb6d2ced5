import Core

/// Reads nodes of a file by a schema: collects every problem, and the valid values.
struct ConfigurationReader {
    private let file: String
    /// The kind of the API whose fields are being read; messages about unknown keys say where in it they belong.
    var kind: APIKind?
    /// The API whose fields are being read.
    var api: String?
    /// Places whose problem is already reported, such as an alias that refers to nothing.
    var settled: Set<SourceMark> = []
    private(set) var problems: [ConfigurationProblem] = []
    /// APIs of kinds that this version does not serve, with or without problems.
    private(set) var refusals: [ConfigurationProblem] = []

    init(file: String) {
        self.file = file
    }

    mutating func report(
        _ mark: SourceMark, _ path: String, _ kind: ConfigurationProblem.Kind, _ message: String, hint: String? = nil,
        suggestion: String? = nil
    ) {
        guard problems.count <= Limits.configurationProblems, !settled.contains(mark) else { return }
        guard problems.count < Limits.configurationProblems else {
            problems.append(
                ConfigurationProblem(
                    file: file, line: mark.line, column: mark.column, kind: .tooManyProblems,
                    message: "more than \(Limits.configurationProblems) problems; the rest is not listed"))
            return
        }
        problems.append(problem(mark, path, kind, message, hint: hint, suggestion: suggestion))
    }

    mutating func refuse(_ mark: SourceMark, _ path: String, _ message: String) {
        guard refusals.count < Limits.configurationProblems else { return }
        refusals.append(problem(mark, path, .kindNotServed, message, hint: nil, suggestion: nil))
    }

    private func problem(
        _ mark: SourceMark, _ path: String, _ kind: ConfigurationProblem.Kind, _ message: String, hint: String?,
        suggestion: String?
    ) -> ConfigurationProblem {
        ConfigurationProblem(
            file: file, line: mark.line, column: mark.column, length: mark.length, api: api, path: path, kind: kind,
            message: message, hint: hint, suggestion: suggestion)
    }

    /// Reads a map with known keys.
    mutating func read(_ node: YAMLNode, as schema: SchemaObject, path: String) -> ConfigurationObject? {
        guard case .mapping(let entries) = node.content else {
            report(
                node.mark, path, .wrongType, "must be a map, found \(node.described)",
                hint: Pitfalls.notAMap(node, schema))
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
            report(
                entry.value.mark, path, .nullNotAllowed, "must be \(field.type.described), found null",
                hint: Pitfalls.null(field))
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
            // The misspelt key is already reported.
            if !meant.contains(field.key) {
                report(mark, join(path, field.key), .missing, "is missing; it must be \(field.type.described)")
            }
            return
        case .default(let text): node = YAMLNode(scalar: YAMLScalar(text, isPlain: true), mark: mark)
        case .defaultList(let texts):
            node = YAMLNode(
                sequence: texts.map { YAMLNode(scalar: YAMLScalar($0, isPlain: false), mark: mark) }, mark: mark)
        case .defaultObject:
            // The fields of the absent map are missing because its key is misspelt.
            if meant.contains(field.key), field.isRequired { return }
            node = YAMLNode(mapping: [], mark: mark)
        }
        var value = read(node, as: field.type, path: join(path, field.key))
        value?.isDefault = true
        object.fields[field.key] = value
    }

    // MARK: Unknown keys

    /// - Returns: the known key that was probably intended.
    private mutating func reportUnknown(_ entry: YAMLNode.Entry, path: String, _ schema: SchemaObject) -> String? {
        let known = schema.fields.map(\.key)
        let suggestion = NearestKey.find(entry.key, among: known)
        let message = "unknown key \(entry.key.quoted)"
        let hint = suggestion == nil ? advice(for: entry.key, schema) : nil
        report(entry.keyMark, path, .unknownKey, message, hint: hint, suggestion: suggestion)
        return suggestion
    }

    private func advice(for key: String, _ schema: SchemaObject) -> String {
        if key.unicodeScalars.contains(where: { $0 != " " && $0.isInvisible }) {
            return "there is a character in it that cannot be seen; write the key again"
        }
        if let name = Self.foreignWords[key], schema.field(name) != nil { return "here it is called \(name)" }
        if Self.olderKeys.contains(key) { return Self.olderVersion }
        return home(of: key) ?? "allowed are \(schema.fields.map(\.key).joined(separator: ", "))"
    }

    /// Keys of Docker Compose, Kubernetes and older versions, with the keys of this version.
    private static let foreignWords = [
        "resources": "compute", "memory": "mem", "environment": "env", "entrypoint": "command",
        "concurrency": "max_concurrency", "replicas": "autoscaling", "scaling": "autoscaling", "lifecycle": "pre_stop",
        "healthcheck": "liveness_probe", "processes_per_replica": "max_concurrency", "mounts": "volumes",
        "deadline": "timeout", "ttl": "retention",
    ]

    /// Keys of the original's files before version 0.36, and the kinds of API that they declared.
    static let olderKeys: Set<String> = [
        "predictor", "project_dir", "monitoring", "tracker", "api_gateway", "local_port", "prediction_logging",
        "python_path", "server_side_batching", "threads_per_process", "model_path", "models", "onnx", "tensorflow",
    ]
    static let olderKinds: Set<String> = [
        "deployment", "api", "SyncAPI", "aggregate", "transformer", "estimator", "model",
    ]
    static let olderVersion =
        "files of Cortex before version 0.36 are written like this; docs/moving-from-cortex.md says how to migrate them"

    /// Where a key is allowed: elsewhere in this kind of API, or in another kind.
    private func home(of key: String) -> String? {
        guard let kind else { return nil }
        let places = APISchema.root(of: kind).places(of: key)
        if !places.isEmpty { return "it belongs \(places.joined(separator: " or "))" }
        let kinds = APIKind.allCases.filter {
            $0 != kind && !APISchema.root(of: $0).places(of: key).isEmpty
        }
        guard !kinds.isEmpty else { return nil }
        let owners = "only \(kinds.map(\.rawValue).joined(separator: " and ")) can have it, not \(kind.rawValue)"
        guard kind == .batch || kind == .task, let instead = Self.insteadForJobs[key] else { return owners }
        return "\(owners): \(instead)"
    }

    /// Why an API with jobs does not have a key of an API with replicas.
    private static let insteadForJobs = [
        "autoscaling": "a submission names the number of workers of its job",
        "update_strategy": "a job keeps the version with which it was submitted",
        "max_queue_length": "max_queued_jobs limits the jobs that wait",
        "max_queue_time": "a job waits until it can start",
        "pre_stop": "a worker is stopped with SIGTERM",
        "max_concurrency": "nothing is sent to a task",
        "readiness_probe": "nothing is sent to a task",
        "cors": "any origin may submit jobs at the gateway",
    ]

    func join(_ path: String, _ key: String) -> String {
        let name =
            key.shortened(to: 80).unicodeScalars.contains(where: \.isInvisible) ? key.quoted : key.shortened(to: 80)
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

extension ConfigurationReader {
    /// Reads a value that is not null. `nil` if there was a problem with it.
    mutating func read(_ node: YAMLNode, as type: SchemaType, path: String) -> ConfigurationValue? {
        func value(_ content: ConfigurationValue.Content?) -> ConfigurationValue? {
            content.map { ConfigurationValue(content: $0, mark: node.mark, isDefault: false) }
        }
        switch type {
        case .unsupported(let kind, let message):
            report(node.mark, path, kind, message)
            return nil
        case .object(let schema): return value(read(node, as: schema, path: path).map { .object($0) })
        case .document: return value(document(node, path: path).map { .string($0) })
        case .list(let element, let minimum, let unique):
            return value(list(node, of: element, minimum: minimum, unique: unique, path: path).map { .list($0) })
        case .map(let key, let rule): return value(map(node, key: key, value: rule, path: path).map { .map($0) })
        default: break
        }
        guard case .scalar(let scalar) = node.content else {
            report(
                node.mark, path, .wrongType, "must be \(type.described), found \(node.described)",
                hint: Pitfalls.notAScalar(node, type))
            return nil
        }
        do {
            return value(try ScalarReader.read(scalar, as: type))
        } catch {
            report(node.mark, path, error, scalar: scalar, type: type)
            return nil
        }
    }

    private mutating func report(
        _ mark: SourceMark, _ path: String, _ fault: ScalarReader.Fault, scalar: YAMLScalar, type: SchemaType
    ) {
        let hint = fault.suggestion == nil ? Pitfalls.hint(for: scalar, as: type, fault.kind) : nil
        report(mark, path, fault.kind, fault.message, hint: hint, suggestion: fault.suggestion)
    }

    private mutating func list(
        _ node: YAMLNode, of element: SchemaType, minimum: Int, unique: Bool, path: String
    ) -> [ConfigurationValue]? {
        guard case .sequence(let nodes) = node.content else {
            report(
                node.mark, path, .wrongType, "must be a list, found \(node.described)",
                hint: Pitfalls.notAList(node, of: element))
            return nil
        }
        guard nodes.count >= minimum else {
            report(node.mark, path, .outOfRange, "must have at least \(minimum) element, found an empty list")
            return nil
        }
        var values: [ConfigurationValue] = []
        var seen: Set<String> = []
        for (index, node) in nodes.enumerated() {
            let place = "\(path)[\(index)]"
            guard !node.isNull else {
                report(node.mark, place, .nullNotAllowed, "must be \(element.described), found null")
                continue
            }
            guard let value = read(node, as: element, path: place) else { continue }
            if unique, let text = value.string ?? value.integer.map({ String($0) }), !seen.insert(text).inserted {
                report(node.mark, place, .duplicateValue, "\(text.quoted) is in the list twice")
                continue
            }
            values.append(value)
        }
        return values
    }

    private mutating func document(_ node: YAMLNode, path: String) -> String? {
        guard case .mapping = node.content else {
            let isText = if case .scalar(let scalar) = node.content { scalar.text.hasPrefix("{") } else { false }
            report(
                node.mark, path, .wrongType, "must be a map, found \(node.described)",
                hint: isText ? "write it without quotes" : nil)
            return nil
        }
        if let mark = SubmittedJSON.firstNonFiniteNumber(in: node) {
            report(mark, path, .invalidFormat, "must not contain infinity or NaN, which JSON does not have")
            return nil
        }
        return SubmittedJSON.verbatim(node)
    }

    private mutating func map(
        _ node: YAMLNode, key: StringRule, value rule: StringRule, path: String
    ) -> [String: String]? {
        guard case .mapping(let entries) = node.content else {
            report(
                node.mark, path, .wrongType, "must be a map, found \(node.described)", hint: Pitfalls.notVariables(node)
            )
            return nil
        }
        var values: [String: String] = [:]
        for entry in entries {
            let place = join(path, entry.key)
            do {
                _ = try ScalarReader.string(entry.key, key)
            } catch {
                report(entry.keyMark, place, error.kind, "the name \(error.message)")
            }
            guard case .scalar(let scalar) = entry.value.content else {
                report(
                    entry.value.mark, place, .wrongType, "must be text, found \(entry.value.described)",
                    hint: Pitfalls.notAScalar(entry.value, .string(rule)))
                continue
            }
            do {
                values[entry.key] = try ScalarReader.string(scalar, rule)
            } catch {
                report(entry.value.mark, place, error, scalar: scalar, type: .string(rule))
            }
        }
        return values
    }
}
