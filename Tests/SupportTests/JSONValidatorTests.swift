import Core
import Support
import TestSupport
import Testing

private func verdict(_ bytes: [UInt8]) -> Bool { JSONValidator.problem(in: bytes) == nil }

private let valid: [String] = [
    // Every top-level type.
    "{}", "[]", "\"\"", "0", "-0", "true", "false", "null", "{\"a\":1}", "[1,2,3]", "\"text\"",
    // Numbers of any size and form.
    "12345678901234567890", "1.0", "1e400", "-1.5E-10", "1E+2", "0.0", "0e0", "0E-0", "9999999999999999999999.5e99999",
    // Names that repeat, escapes, half surrogate pairs.
    "{\"a\":1,\"a\":2}", #""\" \\ \/ \b \f \n \r \t \u00e9 \uD83D\uDE00""#, #""\ud800""#, #""\uDC00\uD800""#,
    #"{"\u0061":0}"#,
    // White space.
    " \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } } \n", "[ ]", "{ }", "                    1                 ",
    // UTF-8 of every length, and delete, which is no control character to JSON.
    "\"é ß 漢字 😀 \u{10FFFF} \u{7F} \u{0}\"".replacing("\u{0}", with: ""),
    "[\"a long text without anything special in it\"]",
    "[[[],{}],[{}],{\"a\":[{\"b\":[]}]}]", "[true,false,null,\"x\",-1]",
]

private let invalid: [String] = [
    "", " ", "\n", "NaN", "Infinity", "-Infinity", "-", "+1", "01", "-01", "1.", ".5", "1.e1", "1e", "1e+", "0x10",
    "1 2", "1,", "--1",
    "{}{}", "{} x", "[] ]", "null null", "nul", "nulll", "tru", "truE", "True", "falsee", "fals", "none",
    "{", "[", "]", "}", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{1:2}",
    "{a:1}", "{'a':1}",
    "{\"a\" 1}", "{\"a\":1 \"b\":2}", "[}", "{]", "[1}", "{\"a\":1]", "[\"a\":1]", "{\"a\",1}",
    "\"", "\"abc", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12G4\"", "\"a\nb\"", "\"tab\there\"", "\"\u{1}\"", "'a'",
    "\u{FEFF}{}", "// c\n1", "1 // c", "[1]\u{0}", "\u{A0}1", "\u{C}1", "/", "\\", "undefined",
]

private let notUTF8: [[UInt8]] = [
    [0xFF], [0xFE, 0xFF, 0x00, 0x31], [0x22, 0x80, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xC1, 0xBF, 0x22],
    [0x22, 0xC3, 0x22], [0x22, 0xE0, 0x9F, 0xBF, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0x22, 0xED, 0xBF, 0xBF, 0x22],
    [0x22, 0xE6, 0xBC, 0x22], [0x22, 0xF0, 0x8F, 0xBF, 0xBF, 0x22], [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22],
    [0x22, 0xF5, 0x80, 0x80, 0x80, 0x22], [0x22, 0xF0, 0x9F, 0x98, 0x22], [0x22, 0xFF, 0x22], [0x31, 0x80],
    [0x22, 0xE9, 0x22],
    [0x22, 0xEF, 0xBB], [0x1F, 0x8B, 0x08, 0x00],
]

@Suite("JSON verdict")
struct JSONValidatorTests {
    @Test("C4: a JSON text of any kind is accepted, whole and split at every byte", arguments: valid)
    func accepts(_ text: String) {
        let bytes = Array(text.utf8)
        #expect(verdict(bytes))
        for split in 0...bytes.count {
            var validator = JSONValidator()
            validator.consume(Array(bytes[..<split]))
            validator.consume(Array(bytes[split...]))
            let isValid = validator.finish()
            #expect(isValid, "split at \(split)")
        }
        var single = JSONValidator()
        for byte in bytes { single.consume([byte]) }
        let isValid = single.finish()
        #expect(isValid)
    }

    @Test(
        "C4: whatever is not one JSON text is refused, whole and split at every byte",
        arguments: invalid.map { Array($0.utf8) } + notUTF8)
    func refuses(_ bytes: [UInt8]) throws {
        let problem = try #require(JSONValidator.problem(in: bytes))
        for split in 0...bytes.count {
            var validator = JSONValidator()
            validator.consume(Array(bytes[..<split]))
            validator.consume(Array(bytes[split...]))
            let isValid = validator.finish()
            #expect(!isValid)
            #expect(validator.problem?.offset == problem.offset, "split at \(split)")
        }
    }

    @Test("C4: a prefix of a JSON text is never one itself, unless it ends a number")
    func prefixes() {
        let bytes = Array(#"{"a":[1,"é\n",{"b":null}],"c":-1.5e3,"d":true}"#.utf8)
        for length in 0..<bytes.count { #expect(!verdict(Array(bytes[..<length]))) }
    }

    @Test(
        "C4: strings are scanned in words; a bad byte is found at every position",
        arguments: [0x22, 0x5C, 0x1F, 0x00, 0xFF, 0x80] as [UInt8])
    func badByteAnywhere(_ bad: UInt8) {
        for length in 0..<40 {
            for position in 0..<max(1, length) where position < length {
                var text = [UInt8](repeating: 0x21, count: length)
                text[position] = bad
                #expect(!verdict([0x22] + text + [0x22]))
            }
            #expect(verdict([0x22] + [UInt8](repeating: 0x7F, count: length) + [0x22]))
        }
    }

    @Test("C4: nesting has no limit", arguments: [1, 63, 64, 65, 128, 129, 300, 100_000])
    func depth(_ levels: Int) {
        let open = [UInt8](repeating: UInt8(ascii: "["), count: levels)
        let close = [UInt8](repeating: UInt8(ascii: "]"), count: levels)
        #expect(verdict(open + close))
        #expect(!verdict(open + close.dropLast()))
        #expect(!verdict(open + close + [UInt8(ascii: "]")]))
        var mixed: [UInt8] = []
        var ends: [UInt8] = []
        for level in 0..<levels {
            let isObject = level % 3 == 0
            mixed += Array((isObject ? "{\"k\":" : "[").utf8)
            ends.append(UInt8(ascii: isObject ? "}" : "]"))
        }
        #expect(verdict(mixed + [0x31] + ends.reversed()))
        ends[0] = UInt8(ascii: "]")
        #expect(!verdict(mixed + [0x31] + ends.reversed()))
    }

    @Test("C5: 64 MiB pass in pieces, in no more memory than one of them")
    func large() {
        var piece = Array("\"".utf8) + [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20)
        piece += Array("\",  12345,".utf8)
        var validator = JSONValidator()
        validator.consume([UInt8(ascii: "[")])
        for _ in 0..<64 { validator.consume(piece) }
        validator.consume(Array("null]".utf8))
        let isValid = validator.finish()
        #expect(isValid)
    }

    @Test("C4: random bytes never upset it, and what it accepts it accepts in any pieces")
    func random() {
        var generator = SeededGenerator(seed: 7)
        let alphabet = Array("{}[]:,\"\\u0019aeEtrufalsn .-+\n\u{e9}".utf8)
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
            }
            var pieces = JSONValidator()
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Int.random(in: 1...rest.count, using: &generator)
                pieces.consume(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            let isValid = pieces.finish()
            #expect(isValid == verdict(bytes))
        }
    }

    @Test(
        "A3, C4: the reason names what is wrong and where",
        arguments: [
            ("", 0, "it is empty"), (" \n", 2, "it holds only white space"),
            ("\u{FEFF}1", 0, "it begins with a byte order mark"), ("<html>", 0, "it begins with <, as HTML and XML do"),
            ("{\"loss\":NaN}", 8, "`NaN` is not JSON; a number"), ("NaN", 0, "`NaN` is not JSON"),
            ("[nan]", 2, "`nan` is not JSON"), ("[1,Infinity]", 3, "`Infinity` is not JSON"),
            ("-Infinity", 1, "`-Infinity` is not JSON"), ("[inf]", 1, "`inf` is not JSON"),
            ("{\"a\":None}", 5, "`None` is not JSON; write null"), ("[True]", 1, "`True` is not JSON; write true"),
            ("[FALSE]", 1, "`FALSE` is not JSON; write false"), ("undefined", 0, "`undefined` is not JSON; write null"),
            ("hello", 0, "`hello` is not JSON; text stands in double quotes"),
            ("['a']", 1, "single quotes are not JSON"), ("{'a':1}", 1, "single quotes are not JSON"),
            ("[1,]", 3, "a comma stands before ]"), ("{\"a\":1,}", 7, "a comma stands before }"),
            ("[1,2] 3", 6, "something follows the value"), ("{}{}", 2, "something follows the value"),
            ("{a:1}", 1, "a name in double quotes was expected"), ("{\"a\" 1}", 5, "a colon was expected after a name"),
            ("[1 2]", 3, "a comma or the end of the list"), ("{\"a\":1 \"b\"", 7, "a comma or the end of the object"),
            ("[1}", 2, "a list is closed with }"), ("{\"a\":1]", 6, "an object is closed with ]"),
            ("[01]", 2, "a number must not begin with 0"), ("+1", 0, "a number must not begin with +"),
            (".5", 0, "a number must not begin with a point"), ("[1.]", 3, "a digit was expected"),
            ("[// x\n1]", 1, "comments are not JSON"), ("# x", 0, "comments are not JSON"),
            ("\"a\nb\"", 2, "a control character stands in a string"), (#""\x""#, 2, "an unknown escape"),
            (#""\u12g4""#, 5, "four hexadecimal digits"), ("[1", 2, "it ends too early, within a list"),
            ("{\"a\":", 5, "it ends too early, within an object"), ("[\"a", 3, "it ends too early, within a string"),
            ("tru", 3, "it ends too early"), ("-", 1, "it ends too early"),
        ] as [(String, Int64, String)])
    func reasons(_ text: String, _ offset: Int64, _ reason: String) throws {
        let problem = try #require(JSONValidator.problem(in: Array(text.utf8)))
        #expect(problem.offset == offset, "\(problem)")
        #expect(problem.reason.contains(reason), "\(problem)")
    }

    @Test("A3, C4: what is no UTF-8, compressed or UTF-16 is named so")
    func reasonsOfBytes() {
        #expect(
            JSONValidator.problem(in: [0x22, 0xC3, 0x28, 0x22]) == .init(offset: 2, reason: "a string is not UTF-8"))
        #expect(JSONValidator.problem(in: [0x22, 0xFF, 0x22]) == .init(offset: 1, reason: "a string is not UTF-8"))
        #expect(JSONValidator.problem(in: [0x1F, 0x8B, 8])?.reason == "it is compressed")
        #expect(JSONValidator.problem(in: [0xFF, 0xFE, 0x31, 0])?.reason.contains("UTF-16") == true)
        #expect(JSONValidator.problem(in: [0x89, 0x50, 0x4E, 0x47])?.reason.contains("base64") == true)
    }
}

@Suite("JSON text")
struct JSONTextTests {
    @Test(
        "A3: any text becomes a valid JSON string that says the same",
        arguments: [
            ("", "\"\""), ("a\"b\\c", #""a\"b\\c""#), ("\n\t\r\u{8}\u{C}", #""\n\t\r\b\f""#),
            ("\u{1}\u{1F}\u{7F}", #""\u0001\u001f\u007f""#), ("é😀", "\"é😀\""),
        ])
    func quoting(_ text: String, _ json: String) {
        #expect(JSONText.quoted(text) == json)
        #expect(verdict(Array(json.utf8)))
    }

    @Test(
        "C5: only the white space around a text goes",
        arguments: [(" \n[ 1 ]\t", "[ 1 ]"), ("1", "1"), ("  ", ""), ("", "")])
    func trimming(_ text: String, _ inner: String) {
        #expect(Array(JSONText.trimmed(Array(text.utf8))) == Array(inner.utf8))
    }
}

@Suite("C4: hostile JSON", .timeLimit(.minutes(10)))
struct JSONFuzzTests {
    @Test("C4: the validator judges a text alike in one piece and in many, and never reads past a fault")
    func json() {
        var fuzz = Fuzz(texts: [
            #"{"a":[1,-0.5e+10,true,false,null],"b":{"c":"\u00e9\ud83d\ude00"},"d":"é😀"}"#, "[[[[[]]]]]",
            "12345678901234567890",
            #""\\\"\/\b\f\n\r\t""#, " { } ",
        ])
        for round in 0..<Fuzz.rounds(20_000) {
            let bytes = fuzz.next()
            var whole = JSONValidator()
            let isGood = whole.consume(bytes) && whole.finish()
            var parts = JSONValidator()
            var isGoodInParts = true
            for piece in fuzz.pieces(of: bytes) where isGoodInParts { isGoodInParts = parts.consume(Array(piece)) }
            isGoodInParts = isGoodInParts && parts.finish()
            #expect(isGood == isGoodInParts, "seed \(Fuzz.seed), round \(round)")
            #expect(whole.problem?.offset == parts.problem?.offset, "seed \(Fuzz.seed), round \(round)")
            #expect((whole.problem?.offset ?? 0) <= Int64(bytes.count))
        }
    }
}
