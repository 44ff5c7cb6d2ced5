import Core

/// One API as a file declares it.
struct Declaration: Sendable {
    var specification: APISpecification
    /// The user's own part of the file, as JSON text.
    var submitted: String

    /// - Throws: ``ConfigurationRejected`` with every problem of the file.
    static func read(_ file: [UInt8], fileName: String, baseDirectory: String?) throws -> [Declaration] {
        let result = ConfigurationFile.parse(file, fileName: fileName, baseDirectory: baseDirectory)
        guard result.problems.isEmpty else {
            throw ConfigurationRejected(
                problems: result.problems.map { problem in
                    ErrorDocument.Problem(
                        file: problem.file, line: problem.line, column: problem.column, api: problem.api,
                        path: problem.path.isEmpty ? nil : problem.path, kind: problem.kind.rawValue,
                        message: problem.message, text: problem.rendered)
                })
        }
        return result.apis.map { Declaration(specification: $0.specification, submitted: $0.submitted) }
    }
}
