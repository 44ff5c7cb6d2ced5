/// The places of the values of one API in its file, by path (`pod.containers[0].image`): for problems that are found
/// after the file was read.
package struct SourceMap: Sendable, Hashable {
    private let marks: [String: SourceMark]
    private let start: SourceMark

    init(of api: YAMLNode) {
        var marks: [String: SourceMark] = [:]
        func note(_ node: YAMLNode, _ path: String) {
            switch node.content {
            case .scalar: break
            case .sequence(let elements):
                for (index, element) in elements.enumerated() {
                    marks["\(path)[\(index)]"] = element.mark
                    note(element, "\(path)[\(index)]")
                }
            case .mapping(let entries):
                for entry in entries {
                    let inner = path.isEmpty ? entry.key : "\(path).\(entry.key)"
                    let isScalar = if case .scalar = entry.value.content { true } else { false }
                    // The place of a map or list is its key.
                    marks[inner] = isScalar && !entry.value.isNull ? entry.value.mark : entry.keyMark
                    note(entry.value, inner)
                }
            }
        }
        note(api, "")
        self.marks = marks
        self.start = api.mark
    }

    /// The place of a path, or of the nearest enclosing value in the file.
    package func place(of path: String) -> SourceMark {
        var path = Substring(path)
        while !path.isEmpty {
            if let mark = marks[String(path)] { return mark }
            path = path.lastIndex { $0 == "." || $0 == "[" }.map { path[..<$0] } ?? ""
        }
        return start
    }
}
