import APIConfiguration
import Core
import Testing

@Suite("Y3: completely refused files")
struct BadFileTests {
    @Test("Y3: line, column, path and kind of every problem", arguments: documents)
    func problems(_ document: Document) {
        #expect(document.parsed().problems.map(\.place) == document.problems)
        #expect(document.parsed().apis.isEmpty)
    }

    static let documents: [Document] = [
        Document("nothing", "", "1:1  no_apis"),
        Document("only a comment", "# later\n", "1:1  no_apis"),
        Document("null", "---\n~\n", "2:1  malformed_config"),
        Document("an empty list", "\n[]", "2:1  no_apis"),
        Document("a map", "name: iris\nkind: AsyncAPI\n", "1:1  malformed_config"),
        Document("text", "hello", "1:1  malformed_config"),
        Document(
            "elements that are no maps", "- iris\n- [a]\n- 3", "1:3 [0] malformed_config", "2:3 [1] malformed_config",
            "3:3 [2] malformed_config"),
        Document("a tab", "- name: iris\n\tkind: AsyncAPI\n", "2:1  syntax"),
        Document("an open bracket", "- [a, b\n- c", "1:3  syntax"),
        Document("an open quote", "- name: \"iris\n", "1:9  syntax"),
        Document("a bad indentation", "- name: iris\n   kind: AsyncAPI\n", "2:8  syntax"),
        Document("a control character", "- name: ir\u{7}s\n", "1:11  syntax"),
        Document(
            "two documents", "- {name: a, kind: AsyncAPI, pod: {containers: [{name: a}]}}\n---\n[]",
            "2:1  multiple_documents"),
        Document(
            "a key twice, and more", Document.top("timeout: 1h\ntimeout: 60\nretention: 0s"),
            "8:3  duplicate_key", "9:14 retention out_of_range"),
        Document(
            "a key twice in flow style", "- {name: a, name: b, kind: TaskAPI}", "1:3 pod.containers missing",
            "1:13  duplicate_key"),
        Document(
            "a map as a key", "- {{a: b}: c, kind: TaskAPI}", "1:3 name missing", "1:3 pod.containers missing",
            "1:4  invalid_key"),
        Document(
            "an unknown alias", Document.top("timeout: *long"), "7:12  unknown_alias"),
        Document(
            "an alias to itself", "- &a\n  x: *a\n  kind: TaskAPI\n  name: a", "1:3 pod.containers missing",
            "2:3 x unknown_key", "2:6  unknown_alias"),
        Document("a tag of another language", Document.top("timeout: !!python/object 12h"), "7:12  unsupported_tag"),
        Document("a merge of text", Document.top("<<: hello"), "7:7  invalid_key"),
        Document("a list merged with text", Document.top("<<: [hello]"), "7:8  invalid_key"),
        Document(
            "a name and an endpoint twice",
            """
            - {name: a, kind: AsyncAPI, pod: {containers: [{name: a}]}}
            - {name: a, kind: AsyncAPI, pod: {containers: [{name: a}]}, networking: {endpoint: b/}}
            - {name: b, kind: AsyncAPI, pod: {containers: [{name: a}]}}
            """,
            "2:10 name duplicate_name", "3:10 networking.endpoint duplicate_endpoint_in_one_deploy"),
        Document(
            "problems of two APIs at once",
            """
            - name: one
              kind: AsyncAPI
              pod:
                port: 0
                containers:
                - name: main
                  readiness_probe:
                    http_get:
                      port: 70000
            - name: Two
              knd: AsyncAPI
            """,
            "4:11 pod.port out_of_range", "9:17 pod.containers[0].readiness_probe.http_get.port out_of_range",
            "10:9 name invalid_format", "11:3 knd unknown_key"),
    ]

    @Test("Y3: bytes that are not UTF-8 are refused with their place")
    func notUTF8() {
        let result = ConfigurationFile.parse(
            Array("- name: a\n  kind: \u{e9}".utf8) + [0xC3, 0x28], fileName: "c.yaml", baseDirectory: nil)
        #expect(result.problems.map(\.place) == ["2:10  not_utf8"])
        let utf16 = ConfigurationFile.parse([0xFF, 0xFE, 0x2D, 0], fileName: "c.yaml", baseDirectory: nil)
        #expect(utf16.problems.map(\.place) == ["1:1  not_utf8"])
    }

    @Test("Y3: a file over the limit is refused unread")
    func tooLarge() {
        let bytes = [UInt8](repeating: 32, count: Limits.configuration + 1)
        let result = ConfigurationFile.parse(bytes, fileName: "c.yaml", baseDirectory: nil)
        #expect(result.problems.map(\.place) == ["1:1  too_large"])
    }

    @Test("Y3: aliases that represent a huge tree are refused, also as keys and as merges", arguments: bombs)
    func bomb(_ document: Document) {
        #expect(document.parsed().problems.map(\.kind).contains(.tooLarge))
    }

    static let bombs: [Document] = [
        Document("lists of lists", bomb(last: "- *a30")),
        Document("as a key", bomb(last: "- ? *a30\n  : x")),
        Document(
            "merges",
            "- &base {" + (0..<2000).map { "k\($0): 1" }.joined(separator: ", ") + "}\n"
                + String(repeating: "- {<<: *base}\n", count: 2000)),
    ]

    private static func bomb(last: String) -> String {
        "- &a0 [x, x]\n" + (1...30).map { "- &a\($0) [*a\($0 - 1), *a\($0 - 1)]\n" }.joined() + last
    }

    @Test("Y3: nesting has a limit, which the message names", arguments: ["[", "{a: ", "- "], [500, 100_000])
    func depth(_ opening: String, count: Int) {
        for text in [
            String(repeating: opening, count: count), "- name: a\n  pod: " + String(repeating: opening, count: count),
        ] {
            let result = ConfigurationFile.parse(Array(text.utf8), fileName: "c.yaml", baseDirectory: nil)
            // A block list cannot begin behind a key in its line.
            let isValid = opening != "- " || text.hasPrefix("- -")
            #expect(result.problems.map(\.kind) == [isValid ? .tooDeep : .syntax])
            #expect(!result.problems.contains { "\($0)".contains("yaml_set_max_nest_level") })
            guard isValid else { continue }
            #expect(
                result.problems.first?.message.contains("nested deeper than \(Limits.configurationDepth) levels")
                    == true)
        }
    }

    @Test("Y3: the depth includes nesting by aliases")
    func aliasDepth() {
        let text = "- &a0 [x]\n" + (1...70).map { "- &a\($0) [*a\($0 - 1)]\n" }.joined()
        let result = ConfigurationFile.parse(Array(text.utf8), fileName: "c.yaml", baseDirectory: nil)
        #expect(result.problems.map(\.kind) == [.tooDeep])
    }

    @Test("Y3: the list of problems has a limit and says so")
    func manyProblems() {
        let text = Document.top((0..<3000).map { "key\($0): x" }.joined(separator: "\n"))
        let result = ConfigurationFile.parse(Array(text.utf8), fileName: "c.yaml", baseDirectory: nil)
        #expect(result.problems.count == Limits.configurationProblems + 1)
        #expect(result.problems.contains { $0.kind == .tooManyProblems })
    }
}
