/// Reads the list of APIs that a file is: name and kind first, then the whole by the kind's schema, then what must be unique in a file.
enum APIListReader {
    static func read(_ root: YAMLNode, baseDirectory: String?, with reader: inout ConfigurationReader)
        -> [ConfiguredAPI]
    {
        guard case .sequence(let elements) = root.content else {
            reader.report(
                root.mark, "", .malformedConfig,
                "the file must be a list of APIs (each begins with \"- name:\"), found \(root.described)")
            return []
        }
        if elements.isEmpty {
            reader.report(root.mark, "", .noAPIs, "the list is empty; declare at least one API")
        }
        var apis: [ConfiguredAPI] = []
        var names: [String: SourceMark] = [:]
        var endpoints: [String: String] = [:]
        for (index, element) in elements.enumerated() {
            guard case .mapping(let entries) = element.content else {
                reader.report(
                    element.mark, "[\(index)]", .malformedConfig, "an API must be a map, found \(element.described)")
                continue
            }
            let name = entries.first { $0.key == "name" }?.value
            reader.api = name.flatMap(text)?.shortened(to: 80)
            defer { reader.api = nil }
            if let name, let text = text(name) {
                if let first = names[text] {
                    reader.report(
                        name.mark, "name", .duplicateName,
                        "\(text.quoted) is already the name of the API in line \(first.line); choose another")
                } else {
                    names[text] = name.mark
                }
            }
            guard let object = readAPI(element, entries, with: &reader) else { continue }
            if let endpoint = SpecificationBuilder.endpoint(of: object) {
                let owner = reader.api ?? ""
                if let other = endpoints[endpoint.path] {
                    reader.report(
                        endpoint.mark, "networking.endpoint", .duplicateEndpoint,
                        "\(endpoint.path.quoted) is already the endpoint of \(other); choose another")
                } else {
                    endpoints[endpoint.path] = owner
                }
            }
            var builder = SpecificationBuilder(baseDirectory: baseDirectory)
            let specification = builder.build(object)
            for fault in builder.faults { reader.report(fault.mark, fault.path, fault.kind, fault.message) }
            if let specification {
                apis.append(ConfiguredAPI(specification: specification, submitted: SubmittedJSON.text(of: element)))
            }
        }
        return apis
    }

    private static func readAPI(
        _ element: YAMLNode, _ entries: [YAMLNode.Entry], with reader: inout ConfigurationReader
    ) -> ConfigurationObject? {
        guard let kind = entries.first(where: { $0.key == "kind" })?.value else {
            // Without a kind there is no schema to hold the other fields against; name and kind can still be judged.
            return readOnlyNameAndKind(element, entries, with: &reader)
        }
        guard let word = text(kind), let known = APISpecification.Kind(rawValue: word) else {
            let names = APISpecification.Kind.allCases.map(\.rawValue)
            reader.report(
                kind.mark, "kind", .unknownKind,
                "must be one of \(names.joined(separator: ", ")), found \(kind.described)",
                suggestion: text(kind).flatMap { NearestKey.find($0, among: names) })
            return readOnlyName(element, entries, with: &reader)
        }
        guard known == .async else {
            reader.report(
                kind.mark, "kind", .kindNotServed,
                "\(word) is not served by this version; only \(APISpecification.Kind.async.rawValue) is")
            return readOnlyName(element, entries, with: &reader)
        }
        return reader.read(element, as: AsyncAPISchema.root, path: "")
    }

    private static func readOnlyName(
        _ element: YAMLNode, _ entries: [YAMLNode.Entry], with reader: inout ConfigurationReader
    ) -> ConfigurationObject? {
        let schema = SchemaObject(AsyncAPISchema.root.fields.filter { $0.key == "name" })
        let part = YAMLNode(mapping: entries.filter { $0.key == "name" }, mark: element.mark)
        _ = reader.read(part, as: schema, path: "")
        return nil
    }

    private static func readOnlyNameAndKind(
        _ element: YAMLNode, _ entries: [YAMLNode.Entry], with reader: inout ConfigurationReader
    ) -> ConfigurationObject? {
        let schema = SchemaObject(AsyncAPISchema.root.fields.filter { $0.key == "name" || $0.key == "kind" })
        let known = Set(AsyncAPISchema.root.fields.map(\.key))
        let part = YAMLNode(
            mapping: entries.filter {
                $0.key == "name" || (!known.contains($0.key) && NearestKey.find($0.key, among: ["kind"]) != nil)
            }, mark: element.mark)
        _ = reader.read(part, as: schema, path: "")
        return nil
    }

    private static func text(_ node: YAMLNode) -> String? {
        guard case .scalar(let scalar) = node.content, case .string(let text) = scalar.value else { return nil }
        return text
    }
}
