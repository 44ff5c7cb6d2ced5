import Core

/// Reads the list of APIs in a file: first name and kind, then the fields by the schema of the kind, then the rules for
/// uniqueness in a file.
struct APIListReader {
    private let baseDirectory: String?
    private let served: [APIKind]
    private let submissions: SubmissionCheck
    private var reader: ConfigurationReader
    private var apis: [ConfiguredAPI] = []
    private var names: [String: (mark: SourceMark, kind: APIKind?)] = [:]
    private var endpoints: [String: String] = [:]
    private var splitters: [(api: String?, object: ConfigurationObject)] = []

    private init(
        baseDirectory: String?, served: Set<APIKind>, submissions: @escaping SubmissionCheck,
        reader: ConfigurationReader
    ) {
        self.baseDirectory = baseDirectory
        self.served = APIKind.allCases.filter(served.contains)
        self.submissions = submissions
        self.reader = reader
    }

    static func read(
        _ root: YAMLNode, baseDirectory: String?, served: Set<APIKind>, submissions: @escaping SubmissionCheck,
        with reader: inout ConfigurationReader
    ) -> [ConfiguredAPI] {
        var list = APIListReader(
            baseDirectory: baseDirectory, served: served, submissions: submissions, reader: reader)
        list.read(root)
        reader = list.reader
        return list.apis
    }

    private mutating func read(_ root: YAMLNode) {
        guard case .sequence(let elements) = root.content else {
            let isAPI =
                if case .mapping(let entries) = root.content { entries.contains { $0.key == "name" } } else { false }
            reader.report(
                root.mark, "", .malformedConfig, "the file must be a list of APIs, found \(root.described)",
                hint: isAPI
                    ? "write \"- \" before its first key, and indent the others by two"
                    : "each API begins with \"- name:\"")
            return
        }
        if elements.isEmpty {
            reader.report(root.mark, "", .noAPIs, "the list is empty", hint: "declare at least one API")
        }
        for (index, element) in elements.enumerated() { read(element, index: index) }
        for splitter in splitters { judge(splitter) }
    }

    private mutating func read(_ element: YAMLNode, index: Int) {
        guard case .mapping(let entries) = element.content else {
            let text = Self.text(element) ?? ""
            reader.report(
                element.mark, "[\(index)]", .malformedConfig, "an API must be a map, found \(element.described)",
                hint: Pitfalls.missingSpace(text) { APISchema.root(of: .async).field($0) != nil })
            return
        }
        let name = entries.first { $0.key == "name" }?.value
        let kindNode = entries.first { $0.key == "kind" }?.value
        let kind = kindNode.flatMap(Self.text).flatMap(APIKind.init)
        reader.api = name.flatMap(Self.text)?.shortened(to: 80)
        reader.kind = kind
        defer {
            reader.api = nil
            reader.kind = nil
        }
        checkName(name, kind)
        guard let kind, let kindNode else { return readOfUnknownKind(element, entries, kindNode) }
        guard let object = reader.read(element, as: APISchema.root(of: kind), path: "") else { return }
        let isServed = served.contains(kind)
        if !isServed {
            let names = served.map(\.rawValue).joined(separator: ", ")
            reader.refuse(
                kindNode.mark, "kind",
                "\(kind.rawValue) is not served by this version; only \(names) \(served.count == 1 ? "is" : "are")")
        }
        let places = SourceMap(of: element)
        guard let specification = check(object, of: kind, places), isServed else { return }
        apis.append(
            ConfiguredAPI(
                specification: specification, submitted: SubmittedJSON.text(of: element), places: places))
    }

    /// The allowed values of `kind`, for messages.
    private var allowedKinds: String {
        (served.count == 1 ? "" : "one of ") + served.map(\.rawValue).joined(separator: ", ")
    }

    private mutating func checkName(_ name: YAMLNode?, _ kind: APIKind?) {
        if let name, let text = Self.text(name) {
            if let first = names[text] {
                reader.report(
                    name.mark, "name", .duplicateName,
                    "\(text.quoted) is already the name of the API in line \(first.mark.line); choose another")
            } else {
                names[text] = (name.mark, kind)
            }
        }
    }

    /// Checks the rules over several fields of an API.
    ///
    /// - Returns: its specification; `nil` if there is a problem.
    private mutating func check(_ object: ConfigurationObject, of kind: APIKind, _ places: SourceMap)
        -> APISpecification?
    {
        claimEndpoint(of: object)
        if kind == .trafficSplitter { splitters.append((reader.api, object)) }
        checkSubmissions(of: object, kind, places)
        var builder = SpecificationBuilder(baseDirectory: baseDirectory)
        let specification = builder.build(object, of: kind)
        for fault in builder.faults { reader.report(fault.mark, fault.path, fault.kind, fault.message) }
        return specification
    }

    /// Each problem of the `job` of a schedule is reported at its own place in the file.
    private mutating func checkSubmissions(of object: ConfigurationObject, _ kind: APIKind, _ places: SourceMap) {
        for (index, schedule) in (object["schedules"]?.list ?? []).enumerated() {
            guard let job = schedule.object?["job"]?.string else { continue }
            for problem in submissions(job, kind) {
                let job = "schedules[\(index)].job"
                let path = problem.path.isEmpty ? job : "\(job).\(problem.path)"
                reader.report(places.place(of: path), path, .invalidSubmission, problem.message)
            }
        }
    }

    private mutating func claimEndpoint(of object: ConfigurationObject) {
        guard let endpoint = SpecificationBuilder.endpoint(of: object) else { return }
        guard let other = endpoints.updateValue(reader.api ?? "", forKey: endpoint.path) else { return }
        reader.report(
            endpoint.mark, "networking.endpoint", .duplicateEndpoint,
            "\(endpoint.path.quoted) is already the endpoint of \(other); choose another")
    }

    /// Reads an API whose kind is missing or unknown. A misspelt kind is read as the suggested one, so that the API's
    /// other problems are reported too; without a suggestion only name and kind can be checked.
    private mutating func readOfUnknownKind(_ element: YAMLNode, _ entries: [YAMLNode.Entry], _ kind: YAMLNode?) {
        let schema = APISchema.unknownKind(served: served)
        let fields = schema.fields
        let hasOlderKey = entries.contains { ConfigurationReader.olderKeys.contains($0.key) }
        guard let kind else {
            let known = Set(AsyncAPISchema.root.fields.map(\.key))
            let part = entries.filter {
                $0.key == "name" || (!known.contains($0.key) && NearestKey.find($0.key, among: ["kind"]) != nil)
            }
            if hasOlderKey {
                reader.report(
                    element.mark, "kind", .missing, "is missing; it must be \(allowedKinds)",
                    hint: ConfigurationReader.olderVersion)
            }
            _ = reader.read(
                YAMLNode(mapping: part, mark: element.mark),
                as: hasOlderKey ? SchemaObject(fields.filter { $0.key == "name" }) : schema, path: "")
            return
        }
        let names = APIKind.allCases.map(\.rawValue)
        let text = Self.text(kind)
        let isOlder = hasOlderKey || text.map(ConfigurationReader.olderKinds.contains) ?? false
        let suggestion = isOlder ? nil : text.flatMap { NearestKey.find($0, among: names) }
        reader.report(
            kind.mark, "kind", .unknownKind, "must be \(allowedKinds), found \(kind.described)",
            hint: isOlder ? ConfigurationReader.olderVersion : nil, suggestion: suggestion)
        if let suggestion, let meant = APIKind(rawValue: suggestion) {
            reader.kind = meant
            let read = entries.map { entry -> YAMLNode.Entry in
                guard entry.key == "kind" else { return entry }
                let value = YAMLNode(scalar: YAMLScalar(suggestion, isPlain: true), mark: kind.mark)
                return YAMLNode.Entry(key: entry.key, keyMark: entry.keyMark, value: value)
            }
            let object = reader.read(
                YAMLNode(mapping: read, mark: element.mark), as: APISchema.root(of: meant), path: "")
            if let object { _ = check(object, of: meant, SourceMap(of: element)) }
            return
        }
        _ = reader.read(
            YAMLNode(mapping: entries.filter { $0.key == "name" }, mark: element.mark),
            as: SchemaObject(fields.filter { $0.key == "name" }), path: "")
    }

    /// The targets of a splitter are RealtimeAPIs; those that are not in the file may be deployed.
    private mutating func judge(_ splitter: (api: String?, object: ConfigurationObject)) {
        reader.api = splitter.api
        defer { reader.api = nil }
        for (index, share) in (splitter.object["apis"]?.list ?? []).enumerated() {
            guard let name = share.object?["name"], let text = name.string, let kind = names[text]?.kind,
                kind != .realtime
            else { continue }
            reader.report(
                name.mark, "apis[\(index)].name", .apisNotDeployed,
                "must be the name of a RealtimeAPI, and \(text) is of kind \(kind.rawValue)")
        }
    }

    /// The name of the API that contains a place in the file; `nil` before the first API, or for an API without a name.
    static func api(at mark: SourceMark, in root: YAMLNode) -> String? {
        guard case .sequence(let elements) = root.content,
            let element = elements.last(where: { ($0.mark.line, $0.mark.column) <= (mark.line, mark.column) }),
            case .mapping(let entries) = element.content
        else { return nil }
        return entries.first { $0.key == "name" }.flatMap { text($0.value) }?.shortened(to: 80)
    }

    private static func text(_ node: YAMLNode) -> String? {
        guard case .scalar(let scalar) = node.content, case .string(let text) = scalar.value else { return nil }
        return text
    }
}
