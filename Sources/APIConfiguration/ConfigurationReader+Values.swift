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
            if unique, let text = value.string, !seen.insert(text).inserted {
                report(node.mark, place, .duplicateValue, "\(text.quoted) is in the list twice")
                continue
            }
            values.append(value)
        }
        return values
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
