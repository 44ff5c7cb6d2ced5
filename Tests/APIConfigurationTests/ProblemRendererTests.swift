import APIConfiguration
import Core
import Foundation
import Testing

@Suite("Y3: problems on a terminal")
struct ProblemRendererTests {
    private func render(
        _ problems: [ReportedProblem], _ source: String, file: String? = nil, columns: Int = 60,
        hasColor: Bool = false
    ) -> String {
        ProblemRenderer(file: file, source: SourceText(Array(source.utf8)), columns: columns, hasColor: hasColor)
            .render(problems)
    }

    private func problem(
        line: Int?, column: Int? = 1, length: Int? = nil, _ message: String = "bad", hint: String? = nil
    ) -> ReportedProblem {
        .init(file: "f.yaml", line: line, column: column, length: length, message: message, hint: hint, text: "")
    }

    @Test("Y3: line numbers are aligned, problems are separated, the file has its typed name")
    func several() {
        let source = (1...12).map { "line \($0)" }.joined(separator: "\n")
        let text = render(
            [problem(line: 2, column: 6), problem(line: 12, column: 6, length: 2, hint: "try 13")], source,
            file: "apis/f.yaml")
        #expect(
            text == """
                apis/f.yaml:2:6: bad
                  2 | line 2
                    |      ^

                apis/f.yaml:12:6: bad
                 12 | line 12
                    |      ^^
                    = try 13
                """)
    }

    @Test(
        "Y3: a problem without a line in the file has no excerpt",
        arguments: [(nil, "f.yaml: bad"), (9, "f.yaml:9:1: bad"), (0, "f.yaml:0:1: bad")] as [(Int?, String)])
    func noLine(line: Int?, expected: String) {
        #expect(render([problem(line: line)], "a\nb") == expected)
    }

    @Test(
        "Y3: a mark may be after the line's end, and never extends beyond it", arguments: [(4, 1), (4, 99), (900, 3)])
    func behind(column: Int, length: Int) {
        let text = render([problem(line: 1, column: column, length: length)], "abc\nd")
        #expect(text.hasSuffix(" 1 | abc\n   |    ^"))
    }

    @Test(
        "Y3: no line is wider than the terminal, and the mark is under the marked part", arguments: [20, 33, 60, 80])
    func narrow(columns: Int) throws {
        let source = String(repeating: "x", count: 150) + "HERE" + String(repeating: "y", count: 150)
        for text in [
            source, source.replacing("x", with: "字"), String(source.prefix(154)), String(source.dropFirst(149)),
        ] {
            let column = try #require(text.unicodeScalars.firstIndex(of: "H")).utf16Offset(in: text) + 1
            let lines = render([problem(line: 1, column: column, length: 4)], text, columns: columns)
                .split(separator: "\n").map(String.init)
            let width = lines[1].unicodeScalars.reduce(0) { $0 + ($1 == "字" ? 2 : 1) }
            #expect(width <= max(columns, 25), "\(lines)")
            let shown = try #require(lines[1].range(of: "HERE"))
            let before = lines[1][..<shown.lowerBound].unicodeScalars.reduce(0) { $0 + ($1 == "字" ? 2 : 1) }
            #expect(lines[2] == lines[2].prefix(4).description + String(repeating: " ", count: before - 4) + "^^^^")
        }
    }

    @Test("Y3: colours appear only if requested")
    func color() {
        let colored = render([problem(line: 1, hint: "do")], "abc", hasColor: true)
        #expect(colored.contains("\u{1B}[1mf.yaml:1:1\u{1B}[0m: bad"))
        #expect(colored.contains("\u{1B}[1;31m^\u{1B}[0m"))
        #expect(!render([problem(line: 1, hint: "do")], "abc").contains("\u{1B}"))
    }

    @Test("Y3: text of a server or a file cannot move the cursor")
    func hostile() {
        let text = render(
            [problem(line: 1, column: 3, "a\u{1B}[2Jb\nc\u{202E}", hint: "\u{7}")], "\u{1B}[31m\u{9B}1m\u{202E}",
            file: "\u{1B}]0;x")
        #expect(!text.unicodeScalars.contains { $0 != "\n" && ($0.value < 32 || (0x7F..<0xA0).contains($0.value)) })
        #expect(text.split(separator: "\n").count == 4)
        #expect(!text.contains("\u{202E}"))
    }

    @Test("Y3: lines are counted as YAML counts them", arguments: ["\n", "\r\n", "\r", "\u{85}", "\u{2028}"])
    func lineEnds(end: String) {
        let text = ["- name: iris", "  kind: AsyncAPI", "  pod: {port: 0, containers: [{name: a}]}", ""].joined(
            separator: end)
        let bytes = Array(text.utf8)
        let result = ConfigurationFile.parse(bytes, fileName: "f.yaml", baseDirectory: nil)
        let shown = ProblemRenderer(file: nil, source: SourceText(bytes), columns: 80, hasColor: false)
            .render(result.problems.map { ReportedProblem($0) })
        #expect(shown.contains(" 3 |   pod: {port: 0, containers: [{name: a}]}\n   |               ^"))
    }

    @Test("Y3: the place of a later problem is that of the field or of the nearest enclosing value")
    func places() throws {
        let text = Document.container("image: a\ncompute: {gpu: 1}\nvolumes:\n- a:/b")
        let api = try #require(Document("", text).parsed().apis.first)
        func place(_ path: String) -> String {
            let mark = api.places.place(of: path)
            return "\(mark.line):\(mark.column)+\(mark.length)"
        }
        #expect(place("pod.containers[0].image") == "6:14+1")
        #expect(place("pod.containers[0].compute.gpu") == "7:22+1")
        #expect(place("pod.containers[0].compute.cpu") == "7:7+7")
        #expect(place("pod.containers[0].volumes[0]") == "9:9+4")
        #expect(place("networking.endpoint") == "1:3+1")
    }
}
