/// A place in a file: line and column, both from 1; columns count Unicode scalars.
package struct SourceMark: Sendable, Hashable, Comparable {
    package var line: Int
    package var column: Int
    /// The length of the marked part of the line, in Unicode scalars; at least 1.
    package var length: Int

    package init(line: Int, column: Int, length: Int = 1) {
        self.line = line
        self.column = column
        self.length = length
    }

    package static func < (left: SourceMark, right: SourceMark) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// A node of a YAML document, with its place. Aliases and merge keys (`<<`) are resolved.
struct YAMLNode: Sendable {
    struct Entry: Sendable {
        var key: String
        var keyMark: SourceMark
        var value: YAMLNode
    }

    enum Content: Sendable {
        case scalar(YAMLScalar)
        case sequence([YAMLNode])
        case mapping([Entry])
    }

    var content: Content
    var mark: SourceMark
    /// The number of nodes in this subtree with every alias expanded, including this one. Repeated nodes count each
    /// time.
    var weight: Int
    /// Levels below this node.
    var height: Int

    init(scalar: YAMLScalar, mark: SourceMark) {
        self.content = .scalar(scalar)
        self.mark = mark
        self.weight = 1
        self.height = 0
    }

    init(sequence: [YAMLNode], mark: SourceMark) {
        self.content = .sequence(sequence)
        self.mark = mark
        self.weight = sequence.reduce(1) { $0 + $1.weight }
        self.height = (sequence.map(\.height).max() ?? -1) + 1
    }

    init(mapping: [Entry], mark: SourceMark) {
        self.content = .mapping(mapping)
        self.mark = mark
        self.weight = mapping.reduce(1) { $0 + 1 + $1.value.weight }
        self.height = (mapping.map(\.value.height).max() ?? -1) + 1
    }

    /// The value for a message: `a list`, `the number 3`, `"abc"`.
    var described: String {
        switch content {
        case .sequence: "a list"
        case .mapping: "a map"
        case .scalar(let scalar): scalar.described
        }
    }

    var isNull: Bool {
        if case .scalar(let scalar) = content { scalar.value == .null } else { false }
    }
}
