import Core

/// Builds the only document of a file. Duplicate keys, unknown aliases and tags are recorded and reading continues;
/// only invalid syntax and limits end it.
struct YAMLComposer: ~Copyable {
    struct Finding: Error, Hashable {
        var mark: SourceMark
        var kind: ConfigurationProblem.Kind
        var message: String
        var hint: String?
    }

    private var events: YAMLEvents
    private var anchors: [String: YAMLNode] = [:]
    private var findings: [Finding] = []
    private var nodes = 0

    private init(_ bytes: some Collection<UInt8>) {
        events = YAMLEvents(bytes)
    }

    /// The root of the document, `nil` for a file without one or one that cannot be read, and the findings.
    static func compose(_ bytes: some Collection<UInt8>) -> (root: YAMLNode?, findings: [Finding]) {
        var composer = YAMLComposer(bytes)
        do {
            let root = try composer.document()
            return (root, composer.findings)
        } catch {
            return (nil, composer.findings + [error])
        }
    }

    private mutating func next() throws(Finding) -> (event: YAMLEvents.Event, mark: SourceMark) {
        do {
            return try events.next()
        } catch {
            guard !error.isTooDeep else { throw Self.tooDeep(error.mark) }
            throw Finding(
                mark: error.mark, kind: .syntax, message: "not valid YAML: \(error.message)", hint: error.hint)
        }
    }

    private static func tooDeep(_ mark: SourceMark) -> Finding {
        Finding(mark: mark, kind: .tooDeep, message: "nested deeper than \(Limits.configurationDepth) levels")
    }

    private mutating func document() throws(Finding) -> YAMLNode? {
        var (event, mark) = try next()
        guard case .documentStart = event else { return nil }
        (event, mark) = try next()
        let root = try node(event, mark, depth: 0)
        _ = try next()
        (event, mark) = try next()
        if case .documentStart = event {
            note(
                mark, .multipleDocuments, "a second document begins here; a file is one list of APIs",
                hint: "remove this line and continue with \"- name:\"")
        }
        return root
    }

    private mutating func node(_ event: YAMLEvents.Event, _ mark: SourceMark, depth: Int) throws(Finding) -> YAMLNode {
        guard depth < Limits.configurationDepth else {
            throw Self.tooDeep(mark)
        }
        switch event {
        case .scalar(let text, let isPlain, let anchor, let tag):
            let scalar = YAMLScalar(text, isPlain: tagged(tag, mark) ? isPlain && tag != Tags.string : isPlain)
            return try add(YAMLNode(scalar: scalar, mark: mark), anchor)
        case .alias(let name):
            guard var node = anchors[name] else {
                note(
                    mark, .unknownAlias, "the alias *\(name) refers to no anchor above it",
                    hint: "write &\(name) before the value that it repeats; text that begins with * needs quotes")
                return YAMLNode(scalar: YAMLScalar("", isPlain: true), mark: mark)
            }
            guard depth + node.height < Limits.configurationDepth else {
                throw Self.tooDeep(mark)
            }
            node.mark = mark
            return try add(node, nil)
        case .sequenceStart(let anchor, let tag):
            _ = tagged(tag, mark)
            return try add(YAMLNode(sequence: sequence(depth: depth), mark: mark), anchor)
        case .mappingStart(let anchor, let tag):
            _ = tagged(tag, mark)
            return try add(YAMLNode(mapping: mapping(depth: depth), mark: mark), anchor)
        case .documentStart, .documentEnd, .streamEnd, .sequenceEnd, .mappingEnd:
            throw Finding(mark: mark, kind: .syntax, message: "not valid YAML: a value is missing")
        }
    }

    private mutating func sequence(depth: Int) throws(Finding) -> [YAMLNode] {
        var elements: [YAMLNode] = []
        while true {
            let (event, mark) = try next()
            if case .sequenceEnd = event { return elements }
            elements.append(try node(event, mark, depth: depth + 1))
        }
    }

    private mutating func mapping(depth: Int) throws(Finding) -> [YAMLNode.Entry] {
        var entries: [YAMLNode.Entry] = []
        var seen: [String: SourceMark] = [:]
        var merges: [YAMLNode] = []
        while true {
            let (event, mark) = try next()
            if case .mappingEnd = event { break }
            let key = try node(event, mark, depth: depth + 1)
            let (valueEvent, valueMark) = try next()
            let value = try node(valueEvent, valueMark, depth: depth + 1)
            guard case .scalar(let scalar) = key.content else {
                note(
                    mark, .invalidKey, "a key must be text, found \(key.described)",
                    hint: "text with [ ] { } in it needs quotes; a template must be filled in before the file is read")
                continue
            }
            if let first = seen[scalar.text] {
                note(
                    mark, .duplicateKey,
                    "the key \(scalar.text.quoted) is repeated here; it is also in line \(first.line)",
                    hint: "YAML readers disagree on which of them counts; remove one")
                continue
            }
            seen[scalar.text] = mark
            if scalar.text == "<<", case .string = scalar.value {
                merges.append(value)
            } else {
                entries.append(.init(key: scalar.text, keyMark: mark, value: value))
            }
        }
        for merge in merges { try self.merge(merge, into: &entries, seen: &seen) }
        return entries
    }

    /// `<<: *base` or `<<: [*one, *two]`: existing keys take precedence.
    private mutating func merge(
        _ node: YAMLNode, into entries: inout [YAMLNode.Entry], seen: inout [String: SourceMark]
    ) throws(Finding) {
        switch node.content {
        case .mapping(let more):
            try charge(more.count, node.mark)
            for entry in more where seen.updateValue(entry.keyMark, forKey: entry.key) == nil {
                entries.append(entry)
            }
        case .sequence(let sources):
            for source in sources {
                guard case .mapping = source.content else {
                    note(source.mark, .invalidKey, "the merge key << takes maps, found \(source.described)")
                    continue
                }
                try merge(source, into: &entries, seen: &seen)
            }
        case .scalar:
            note(node.mark, .invalidKey, "the merge key << takes a map or a list of maps, found \(node.described)")
        }
    }

    private enum Tags {
        static let prefix = "tag:yaml.org,2002:"
        static let string = prefix + "str"
        static let known = Set(["str", "int", "float", "bool", "null", "seq", "map"].map { prefix + $0 })
    }

    /// Whether there is a standard tag of YAML.
    private mutating func tagged(_ tag: String?, _ mark: SourceMark) -> Bool {
        guard let tag, tag != "!" else { return false }
        if Tags.known.contains(tag) { return true }
        let word = tag.hasPrefix(Tags.prefix) ? "!!" + tag.dropFirst(Tags.prefix.count) : tag
        note(
            mark, .unsupportedTag, "the tag \(word.quoted) is not supported",
            hint: "remove it; text that begins with ! needs quotes")
        return false
    }

    private mutating func note(
        _ mark: SourceMark, _ kind: ConfigurationProblem.Kind, _ message: String, hint: String? = nil
    ) {
        if findings.count < Limits.configurationProblems {
            findings.append(Finding(mark: mark, kind: kind, message: message, hint: hint))
        }
    }

    /// Counts a node with everything that its aliases repeat, so that a small file cannot represent a huge tree.
    private mutating func add(_ node: YAMLNode, _ anchor: String?) throws(Finding) -> YAMLNode {
        try charge(1, node.mark)
        if node.weight > Limits.configurationNodes { try charge(node.weight, node.mark) }
        if let anchor { anchors[anchor] = node }
        return node
    }

    private mutating func charge(_ count: Int, _ mark: SourceMark) throws(Finding) {
        nodes += count
        guard nodes <= Limits.configurationNodes else {
            throw Finding(
                mark: mark, kind: .tooLarge,
                message: "more than \(Limits.configurationNodes) values, counting each alias; shorten the file")
        }
    }
}
