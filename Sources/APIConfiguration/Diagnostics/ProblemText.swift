package import Core

extension ReportedProblem {
    /// As it goes over the wire.
    package init(_ problem: ConfigurationProblem) {
        self.init(
            file: problem.file, line: problem.line, column: problem.column, length: problem.length, api: problem.api,
            path: problem.path.isEmpty ? nil : problem.path, kind: problem.kind.rawValue, message: problem.message,
            hint: problem.hint, suggestion: problem.suggestion, text: "")
        text = inOneLine(file: problem.file)
    }

    /// Place, API, path and message.
    ///
    /// - Parameter file: how the file is called.
    package func headline(file: String) -> String {
        [place(file: file), api, path, message].compactMap(\.self).joined(separator: ": ")
    }

    /// `cortex.yaml:3:5`.
    package func place(file: String) -> String {
        guard let line else { return file }
        return "\(file):\(line)" + (column.map { ":\($0)" } ?? "")
    }

    /// What to do about it, one thing an element.
    package var advice: [String] {
        [hint, suggestion.map { "did you mean \($0.quoted)?" }].compactMap(\.self)
    }

    /// The headline with the advice.
    package func inOneLine(file: String) -> String {
        ([headline(file: file)] + advice).joined(separator: "; ")
    }
}
