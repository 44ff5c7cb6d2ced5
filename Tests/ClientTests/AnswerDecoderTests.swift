import Client
import Core
import Foundation
import Testing

@Suite("Documents with values that Foundation cannot read")
struct AnswerDecoderTests {
    private func decode(_ value: String) throws -> JSONValue? {
        let text = #"{"config":\#(value),"name":"a\"}b","size":12}"#
        let document = try AnswerDecoder.decode([String: JSONValue].self, from: Data(text.utf8))
        #expect(document["name"] == "a\"}b" && document["size"] == 12)
        return document["config"]
    }

    @Test("C5, J13: any JSON of a caller or container leaves the rest of the document readable")
    func values() throws {
        #expect(
            try decode(#"{"x":[1e400,-1E+999,1e-999,0e-999,1.5]}"#)
                == ["x": ["1e400", "-1E+999", "1e-999", 0, 1.5]])
        #expect(
            try decode(#"["\ud800","a\udc00\\ud800\ud83d\ude00\n","1e400"]"#)
                == ["\u{FFFD}", "a\u{FFFD}\\ud800\u{1F600}\n", "1e400"])
        #expect(try decode(String(repeating: "1", count: 1000)) != nil)
        #expect(try decode("123456789012345678901234567890") == 1.2345678901234568e29)
        for nested in ["[", #"{"a":"#] {
            let levels = 100_000
            let end = nested == "[" ? "]" : "}"
            let text = String(repeating: nested, count: levels) + #""]}""# + String(repeating: end, count: levels)
            #expect(try decode("[\(text),1]") != nil)
        }
    }

    @Test("C5: text that is no JSON is still an error")
    func broken() {
        for text in ["", "{", #"{"config":1e400"#, #"{"a":"\u12"#] {
            #expect(throws: DecodingError.self) {
                try AnswerDecoder.decode([String: JSONValue].self, from: Data(text.utf8))
            }
        }
    }
}
