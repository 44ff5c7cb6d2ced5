import Core
import Foundation
import Support
import TestSupport
import Testing

@Suite("Elements of a JSON array")
struct JSONElementsTests {
    /// The elements of a text that arrives in these pieces, and whether it is an array.
    private func elements(of pieces: [some Collection<UInt8>]) -> (elements: [String], isArray: Bool?) {
        var scanner = JSONElements()
        var found: [String] = []
        var element: [UInt8] = []
        for piece in pieces {
            let bytes = Array(piece)
            var position = 0
            while let part = scanner.next(in: bytes, from: &position) {
                element += bytes[part.range]
                guard part.isEnd else { continue }
                found.append(String(decoding: element, as: UTF8.self))
                element = []
            }
            #expect(position == bytes.count)
        }
        #expect(scanner.count == found.count && element.isEmpty)
        return (found, scanner.isArray)
    }

    @Test(
        "B8: the elements of an array are its bytes without white space around them",
        arguments: [
            ("[]", []), (" [ ] ", []), ("[1]", ["1"]), ("[1,2]", ["1", "2"]),
            (" [ 1.0 ,\n\t2e400\r, -0 ]\n", ["1.0", "2e400", "-0"]),
            (
                #"["a,b","]","[","\"","\\","\\\"","\u0022,"]"#,
                [#""a,b""#, #""]""#, #""[""#, #""\"""#, #""\\""#, #""\\\"""#, #""\u0022,""#]
            ),
            (
                #"[{"a":[1,{"b":"}]"}],"c":{}} , [[],[ ]],null,true,false]"#,
                [#"{"a":[1,{"b":"}]"}],"c":{}}"#, "[[],[ ]]", "null", "true", "false"]
            ),
            (
                #"["é😀,]", "a long text without any special byte in it, of more than eight bytes"]"#,
                [#""é😀,]""#, #""a long text without any special byte in it, of more than eight bytes""#]
            ),
        ] as [(String, [String])])
    func known(_ text: String, _ wanted: [String]) {
        let bytes = Array(text.utf8)
        for cut in 0...bytes.count {
            let (found, isArray) = elements(of: [bytes[..<cut], bytes[cut...]])
            #expect(found == wanted, "cut at \(cut)")
            #expect(isArray == true)
        }
        #expect(elements(of: bytes.map { [$0] }).elements == wanted)
    }

    @Test("B8: a text that is no array has no elements", arguments: ["{}", "1", "\"[1]\"", "null", "  {\"a\":[1,2]}"])
    func otherTexts(_ text: String) {
        let (found, isArray) = elements(of: [Array(text.utf8)])
        #expect(found.isEmpty)
        #expect(isArray == false)
        #expect(elements(of: [Array(" \n".utf8)]).isArray == nil)
    }

    @Test("B8: random arrays in random pieces have the elements that Foundation's parser finds")
    func property() throws {
        var generator = SeededGenerator(seed: Fuzz.seed)
        for round in 0..<Fuzz.rounds(400) {
            var texts: [String] = []
            for _ in 0..<Int.random(in: 0...6, using: &generator) { texts.append(Self.value(3, &generator)) }
            let array =
                Self.blank(&generator) + "[" + Self.blank(&generator)
                + texts.map { $0 + Self.blank(&generator) }.joined(separator: "," + Self.blank(&generator)) + "]"
                + Self.blank(&generator)
            let bytes = Array(array.utf8)
            var fuzz = Fuzz(corpus: [bytes], seed: UInt64(round))
            let found = elements(of: fuzz.pieces(of: bytes)).elements
            #expect(found == texts, "round \(round): \(array)")
            let parsed = try JSONDecoder().decode([JSONValue].self, from: Data(bytes))
            let decoded = try found.map { try JSONDecoder().decode(JSONValue.self, from: Data($0.utf8)) }
            #expect(parsed == decoded, "round \(round): \(array)")

            // What is cut out is a text of the same elements, whatever the pieces are.
            let kept = texts.indices.filter { _ in Bool.random(using: &generator) }
            let wanted = "[" + kept.map { texts[$0] }.joined(separator: ",") + "]"
            #expect(JSONArrayCut.cut(bytes, keeping: kept) == Array(wanted.utf8), "round \(round): \(array)")
            var cut = JSONArrayCut(keeping: kept)
            let copy = fuzz.pieces(of: bytes).flatMap { cut.consume(Array($0)) } + JSONArrayCut.end
            #expect(cut.isComplete && copy == Array(wanted.utf8), "round \(round): \(array)")
        }
    }

    @Test("B6: elements that the array does not have are missing")
    func missing() {
        #expect(JSONArrayCut.cut(Array("[1,2]".utf8), keeping: [1, 2]) == nil)
        #expect(JSONArrayCut.cut(Array("{}".utf8), keeping: [0]) == nil)
        #expect(JSONArrayCut.cut(Array("[1,2]".utf8), keeping: []) == Array("[]".utf8))
    }

    private static func blank(_ generator: inout SeededGenerator) -> String {
        String(
            (0..<Int.random(in: 0...2, using: &generator)).map { _ in " \n\t\r".randomElement(using: &generator) ?? " "
            })
    }

    /// A random JSON value as text.
    private static func value(_ depth: Int, _ generator: inout SeededGenerator) -> String {
        switch Int.random(in: 0...(depth == 0 ? 4 : 6), using: &generator) {
        case 0: return ["null", "true", "false"].randomElement(using: &generator) ?? "null"
        case 1: return String(Int.random(in: -1000...1000, using: &generator))
        case 2: return ["0.5", "1e5", "-2.5E-3", "12345678901234567890", "1.0"].randomElement(using: &generator) ?? "0"
        case 3, 4: return string(&generator)
        case 5:
            let values = (0..<Int.random(in: 0...3, using: &generator)).map { _ in value(depth - 1, &generator) }
            return "[" + values.map { blank(&generator) + $0 + blank(&generator) }.joined(separator: ",") + "]"
        default:
            let members = (0..<Int.random(in: 0...3, using: &generator)).map { index in
                "\"\(index)" + string(&generator).dropFirst() + blank(&generator) + ":" + value(depth - 1, &generator)
            }
            return "{" + blank(&generator) + members.joined(separator: ",") + blank(&generator) + "}"
        }
    }

    private static func string(_ generator: inout SeededGenerator) -> String {
        let parts = [
            "a", ",", "[", "]", "{", "}", ":", #"\""#, #"\\"#, #"\/"#, #"\n"#, #"\u0022"#, #"\u005c"#, "é", "😀",
            "a text of several words",
        ]
        return "\""
            + (0..<Int.random(in: 0...5, using: &generator)).map { _ in parts.randomElement(using: &generator) ?? "" }
            .joined() + "\""
    }
}
