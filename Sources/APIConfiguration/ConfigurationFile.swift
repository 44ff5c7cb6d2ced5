package import Core

/// A `cortex.yaml` (or JSON, which is YAML too): converts bytes to specifications and problems (contract Y1–Y3).
package enum ConfigurationFile {
    /// Reads a whole file. A pure function of the bytes.
    ///
    /// - Parameters:
    ///   - fileName: for messages only.
    ///   - baseDirectory: the absolute folder against which relative volume sources are resolved; `nil` if there is
    ///     none, and then such sources are a problem.
    ///   - served: the kinds whose APIs are deployed; those of other kinds are checked and refused.
    ///   - submissions: finds the problems of the submissions of schedules.
    package static func parse(
        _ bytes: [UInt8], fileName: String, baseDirectory: String?, served: Set<APIKind> = APIKind.served,
        submissions: @escaping SubmissionCheck = { _, _ in [] }
    ) -> ConfigurationResult {
        var reader = ConfigurationReader(file: fileName)
        var apis: [ConfiguredAPI] = []
        if bytes.count > Limits.configuration {
            reader.report(
                SourceMark(line: 1, column: 1), "", .tooLarge,
                "the file has \(bytes.count) bytes; at most \(Limits.configuration) are read",
                hint: "check that it is the right file")
        } else if let mark = UTF8Check.firstFault(in: bytes) {
            let isUTF16 = bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF])
            reader.report(
                mark, "", .notUTF8, isUTF16 ? "the file is UTF-16 text" : "not UTF-8 text",
                hint: "save the file as UTF-8")
        } else {
            let (root, findings) = compose(bytes)
            for finding in findings {
                // A second document belongs to no API.
                reader.api =
                    finding.kind == .multipleDocuments
                    ? nil : root.flatMap { APIListReader.api(at: finding.mark, in: $0) }
                reader.report(finding.mark, "", finding.kind, finding.message, hint: finding.hint)
            }
            reader.api = nil
            reader.settled = Set(findings.filter { $0.kind == .unknownAlias }.map(\.mark))
            if let root {
                apis = APIListReader.read(
                    root, baseDirectory: baseDirectory, served: served, submissions: submissions, with: &reader)
            } else if findings.isEmpty {
                reader.report(
                    SourceMark(line: 1, column: 1), "", .noAPIs, "the file is empty", hint: "declare at least one API")
            }
        }
        let problems = reader.problems.enumerated().sorted {
            ($0.element.line, $0.element.column, $0.offset) < ($1.element.line, $1.element.column, $1.offset)
        }
        return ConfigurationResult(
            apis: problems.isEmpty ? apis : [], problems: problems.map(\.element), refusals: reader.refusals)
    }

    /// The whole file as JSON text with sorted keys and expanded aliases and merge keys; `nil` if its YAML cannot be
    /// read.
    package static func json(of bytes: [UInt8]) -> String? {
        guard bytes.count <= Limits.configuration, UTF8Check.firstFault(in: bytes) == nil else { return nil }
        return compose(bytes).root.map(SubmittedJSON.text)
    }

    private static func compose(_ bytes: [UInt8]) -> (root: YAMLNode?, findings: [YAMLComposer.Finding]) {
        let text = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes[...]
        return YAMLComposer.compose(JSONSurrogates.joined(text))
    }
}

/// Finds the problems of a submission to an API of a kind with jobs, which is the `job` of a schedule (contract B1, T1,
/// J14).
///
/// The submission is a JSON object as text.
package typealias SubmissionCheck = @Sendable (_ submission: String, _ kind: APIKind) -> [SubmissionProblem]

/// One problem of a submission.
package struct SubmissionProblem: Sendable, Hashable {
    /// The path of the member, such as `item_list.batch_size`; empty for the submission as a whole.
    package var path: String
    /// What is wrong and what is allowed, as the continuation of the path.
    package var message: String

    package init(path: String, message: String) {
        self.path = path
        self.message = message
    }
}

/// The declarations of a file, or its problems.
package struct ConfigurationResult: Sendable, Hashable {
    /// The APIs of served kinds, in the order of the file; empty if there is any problem: a file is accepted completely
    /// or not at all.
    package var apis: [ConfiguredAPI]
    /// In the order of their places.
    package var problems: [ConfigurationProblem]
    /// APIs of kinds that this version does not serve: the file may be correct but is not deployed.
    package var refusals: [ConfigurationProblem]

    package init(
        apis: [ConfiguredAPI], problems: [ConfigurationProblem] = [], refusals: [ConfigurationProblem] = []
    ) {
        self.apis = apis
        self.problems = problems
        self.refusals = refusals
    }

    /// Everything that prevents the deploy of the file, in the order of the file.
    package var obstacles: [ConfigurationProblem] {
        (problems + refusals).enumerated().sorted {
            ($0.element.line, $0.element.column, $0.offset) < ($1.element.line, $1.element.column, $1.offset)
        }.map(\.element)
    }

    package var specifications: [APISpecification] { apis.map(\.specification) }

    /// The APIs.
    ///
    /// - Throws: ``PlatformError`` `configuration_invalid` with all problems, one per line.
    package func validated() throws(PlatformError) -> [ConfiguredAPI] {
        guard obstacles.isEmpty else { throw PlatformError(.configurationInvalid, obstacles.rendered) }
        return apis
    }
}

/// One API of a file.
package struct ConfiguredAPI: Sendable, Hashable {
    package var specification: APISpecification
    /// The user's text as compact JSON with sorted keys and expanded aliases and merge keys.
    package var submitted: String
    package var places: SourceMap

    package init(specification: APISpecification, submitted: String, places: SourceMap) {
        self.specification = specification
        self.submitted = submitted
        self.places = places
    }
}

enum UTF8Check {
    /// The place of the first byte that is not UTF-8.
    static func firstFault(in bytes: [UInt8]) -> SourceMark? {
        guard String(validating: bytes, as: UTF8.self) == nil else { return nil }
        var mark = SourceMark(line: 1, column: 1)
        var decoder = UTF8()
        var iterator = bytes.makeIterator()
        while case .scalarValue(let scalar) = decoder.decode(&iterator) {
            if scalar == "\n" {
                mark.line += 1
                mark.column = 1
            } else {
                mark.column += 1
            }
        }
        return mark
    }
}
