import APIConfiguration
import Core

/// One API as a file declares it.
struct Declaration: Sendable {
    var specification: APISpecification
    /// The user's own part of the file, as JSON text.
    var submitted: String
    /// Where its fields are in the file; `nil` where there is no file, as in a rollback.
    var places: SourceMap?

    /// - Parameters:
    ///   - kinds: the kinds whose APIs are deployed.
    ///   - submissions: finds the problems of the submissions of schedules.
    /// - Throws: ``ConfigurationRejected`` with every problem of the file.
    static func read(
        _ file: [UInt8], fileName: String, baseDirectory: String?, kinds: Set<APIKind>,
        submissions: @escaping SubmissionCheck
    ) throws -> [Declaration] {
        let result = ConfigurationFile.parse(
            file, fileName: fileName, baseDirectory: baseDirectory, served: kinds, submissions: submissions)
        guard result.obstacles.isEmpty else {
            throw ConfigurationRejected(problems: result.obstacles.map { ReportedProblem($0) })
        }
        return result.apis.map {
            Declaration(specification: $0.specification, submitted: $0.submitted, places: $0.places)
        }
    }

    /// A problem of this API that was found by comparison with what is deployed or with what the engine can do.
    func problem(_ fileName: String, path: String?, kind: String, message: String) -> ReportedProblem {
        let mark = places?.place(of: path ?? "")
        var problem = ReportedProblem(
            file: fileName, line: mark?.line, column: mark?.column, length: mark?.length, api: specification.name,
            path: path, kind: kind, message: message, text: "")
        problem.text = problem.inOneLine(file: fileName)
        return problem
    }

    /// What an engine says of it: `path: message`, where the path is one of the file's.
    func problem(_ fileName: String, said text: String) -> ReportedProblem {
        let kind = PlatformError.Code.notSupported.kind
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[0].contains(" "), parts[1].hasPrefix(" ") else {
            return problem(fileName, path: nil, kind: kind, message: text)
        }
        return problem(fileName, path: String(parts[0]), kind: kind, message: String(parts[1].dropFirst()))
    }
}
