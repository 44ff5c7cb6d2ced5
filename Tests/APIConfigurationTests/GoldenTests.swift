import APIConfiguration
import Core
import Foundation
import Testing

/// Documents and their problems, as text files that can be read from top to bottom.
///
/// A case is a line `==== title`, the document, a line `---->`, and the whole text. In documents ␉ represents a tab and
/// ␍ a carriage return. With `CORTEX_RECORD=1` in the environment the files are rewritten instead of compared: review
/// the difference.
@Suite("Y3: the whole text of every problem")
struct GoldenTests {
    struct Case {
        var title: String
        var document: String
        var expected: String
    }

    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden")
    static let isRecording = ProcessInfo.processInfo.environment["CORTEX_RECORD"] == "1"

    static let files: [String] = {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return names.filter { $0.hasSuffix(".txt") }.sorted()
    }()

    static func cases(of file: String) throws -> [Case] {
        let text = try String(contentsOf: folder.appending(path: file), encoding: .utf8)
        return text.components(separatedBy: "\n==== ").dropFirst().compactMap { part in
            let lines = part.components(separatedBy: "\n")
            guard let arrow = lines.firstIndex(of: "---->"), let title = lines.first else { return nil }
            var expected = lines[(arrow + 1)...].joined(separator: "\n")
            while expected.hasSuffix("\n") { expected.removeLast() }
            return Case(title: title, document: lines[1..<arrow].joined(separator: "\n"), expected: expected)
        }
    }

    static func rendered(_ document: String, of file: String) -> String {
        let text = document.replacing("␉", with: "\t").replacing("␍", with: "\r")
        let bytes = Array(text.utf8)
        let result = ConfigurationFile.parse(
            bytes, fileName: "cortex.yaml", baseDirectory: "/home/ada",
            served: file.contains("jobs") ? Document.kinds : Document.kindsWithoutJobs)
        return ProblemRenderer(file: nil, source: SourceText(bytes), columns: 80, hasColor: false)
            .render(result.obstacles.map { ReportedProblem($0) })
    }

    @Test("Y3: place, API, path, what was found, what is allowed, the line, and what to do", arguments: files)
    func golden(_ file: String) throws {
        let cases = try Self.cases(of: file)
        if Self.isRecording {
            let url = Self.folder.appending(path: file)
            let head = try String(contentsOf: url, encoding: .utf8).components(separatedBy: "\n==== ")[0]
            let text = cases.map {
                "\n==== \($0.title)\n\($0.document)\n---->\n\(Self.rendered($0.document, of: file))\n"
            }
            try (head + text.joined()).write(to: url, atomically: true, encoding: .utf8)
            return
        }
        for item in cases {
            let text = Self.rendered(item.document, of: file)
            #expect(text == item.expected, "\(file): \(item.title)")
        }
    }

    @Test("Y3: there are at least 120 cases, none twice")
    func count() throws {
        let cases = try Self.files.flatMap(Self.cases)
        #expect(cases.count >= 120)
        #expect(Set(cases.map(\.title)).count == cases.count)
        let silent = cases.filter { $0.expected.isEmpty }.map(\.title)
        #expect(silent == [])
    }
}
