/// A `cortex.yaml` (or the same as JSON, which is YAML too): bytes in, specifications and problems out (contract Y1–Y3).
package enum ConfigurationFile {
    /// Reads a whole file. Pure: nothing but the bytes is looked at.
    ///
    /// - Parameters:
    ///   - fileName: for messages only.
    ///   - baseDirectory: an absolute folder that relative volume sources are resolved against; `nil` where there is none, and then such sources are a problem.
    package static func parse(_ bytes: [UInt8], fileName: String, baseDirectory: String?) -> ConfigurationResult {
        var reader = ConfigurationReader(file: fileName)
        var apis: [ConfiguredAPI] = []
        if bytes.count > Limits.configuration {
            reader.report(
                SourceMark(line: 1, column: 1), "", .tooLarge,
                "the file has \(bytes.count) bytes; at most \(Limits.configuration) are read")
        } else if let mark = UTF8Check.firstFault(in: bytes) {
            reader.report(mark, "", .notUTF8, "not UTF-8 text; save the file as UTF-8")
        } else {
            let text = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes[...]
            let (root, findings) = YAMLComposer.compose(JSONSurrogates.joined(text))
            for finding in findings { reader.report(finding.mark, "", finding.kind, finding.message) }
            if let root {
                apis = APIListReader.read(root, baseDirectory: baseDirectory, with: &reader)
            } else if findings.isEmpty {
                reader.report(
                    SourceMark(line: 1, column: 1), "", .noAPIs, "the file is empty; declare at least one API")
            }
        }
        let problems = reader.problems.enumerated().sorted {
            ($0.element.line, $0.element.column, $0.offset) < ($1.element.line, $1.element.column, $1.offset)
        }
        return ConfigurationResult(apis: problems.isEmpty ? apis : [], problems: problems.map(\.element))
    }
}

/// What a file declares, or what is wrong with it.
package struct ConfigurationResult: Sendable, Hashable {
    /// In the file's order; empty when there is any problem: a file is taken whole or not at all.
    package var apis: [ConfiguredAPI]
    /// In the order of their places.
    package var problems: [ConfigurationProblem]

    package init(apis: [ConfiguredAPI], problems: [ConfigurationProblem] = []) {
        self.apis = apis
        self.problems = problems
    }

    package var specifications: [APISpecification] { apis.map(\.specification) }

    /// The APIs.
    ///
    /// - Throws: ``PlatformError`` `configuration_invalid`, listing all problems, one a line.
    package func validated() throws(PlatformError) -> [ConfiguredAPI] {
        guard problems.isEmpty else { throw PlatformError(.configurationInvalid, problems.rendered) }
        return apis
    }
}

/// One API of a file.
package struct ConfiguredAPI: Sendable, Hashable {
    package var specification: APISpecification
    /// What the user wrote, as compact JSON text with sorted keys; aliases and merge keys written out.
    package var submitted: String

    package init(specification: APISpecification, submitted: String) {
        self.specification = specification
        self.submitted = submitted
    }
}

enum UTF8Check {
    /// The place of the first byte that is no UTF-8.
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
