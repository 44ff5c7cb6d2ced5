import Foundation
import Testing

@Suite("Documentation")
struct DocumentationTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    @Test("A3, A4: troubleshooting explains every kind of error there is")
    func kinds() throws {
        let page = try Self.text("docs/troubleshooting.md")
        let codes = try Self.text("Sources/Core/Errors.swift").matches(of: #/= Code\("(\w+)"\)/#).map { String($0.1) }
        let failures = try Self.text("Sources/Core/Requests/RequestFailure.swift")
        let kinds = failures.matches(of: #/case \w+ = "(\w+)"/#).map { String($0.1) } + ["timeout", "expired"]
        #expect(codes.count > 15 && kinds.count > 5)
        for kind in codes + kinds + ["asyncapi.api_updating"] {
            #expect(page.contains("`\(kind)`"), "\(kind) is not explained")
        }
    }

    @Test("Every link between the pages leads somewhere")
    func links() throws {
        let manager = FileManager.default
        let pages = try manager.contentsOfDirectory(atPath: Self.root.appending(path: "docs").path)
            .filter { $0.hasSuffix(".md") }.map { "docs/\($0)" }
        for page in pages + ["README.md", "CONTRIBUTING.md"] {
            let folder = Self.root.appending(path: page).deletingLastPathComponent()
            for match in try Self.text(page).matches(of: #/\]\(([^)#:]+)(?:#[^)]*)?\)/#) {
                let target = folder.appending(path: String(match.1)).standardizedFileURL.path
                #expect(manager.fileExists(atPath: target), "\(page) links to \(match.1)")
            }
        }
    }

    @Test("The functions that docs/architecture.md links to are in the files that it names")
    func functions() throws {
        let page = try Self.text("docs/architecture.md")
        var count = 0
        for match in page.matches(of: #/\[`(\w+)\.(\w+)\(\)`\]\(\.\./([^)]+)\)/#) {
            let (type, function, file) = (String(match.1), String(match.2), String(match.3))
            let source = try Self.text(file)
            let isThere = ["(", "<"].contains { source.contains("func \(function)\($0)") }
            #expect(isThere, "\(file) has no function \(function)")
            #expect(source.contains(type), "\(file) does not name \(type)")
            count += 1
        }
        #expect(count > 30)
    }

    @Test("The code of the pages for adapters is the code that is compiled and tested", arguments: ["store", "engine"])
    func code(_ adapter: String) throws {
        let page = try Self.text("docs/add-\(adapter == "engine" ? "an" : "a")-\(adapter).md")
        let blocks = page.matches(of: #/<!-- code: ([\w.]+), ([\w ]+) -->\n```swift\n((?:.*\n)*?)```/#)
        #expect(blocks.count == page.matches(of: #/```swift/#).count)
        #expect(blocks.count > 1)
        for block in blocks {
            let (file, region) = (String(block.1), String(block.2))
            let lines = try Self.text("Tests/ExampleAdapterTests/\(file)").split(
                separator: "\n", omittingEmptySubsequences: false)
            let begin = try #require(lines.firstIndex { $0.hasSuffix("// region: \(region)") })
            let end = try #require(lines[begin...].firstIndex { $0.hasSuffix("// endregion: \(region)") })
            let indentation = lines[begin].prefix { $0 == " " }.count
            let code = lines[(begin + 1)..<end].map { String($0.dropFirst(indentation)) + "\n" }.joined()
            #expect(code == String(block.3), "\(file), \(region)")
        }
    }
}
