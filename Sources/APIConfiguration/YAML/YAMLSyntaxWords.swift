/// libyaml's messages about invalid syntax, rewritten for readers who do not know how a YAML parser works, and with a
/// hint.
struct YAMLSyntaxWords {
    private(set) var message = ""
    private(set) var hint: String?
    /// Whether the place to show is the beginning of the list, map or quotation rather than the place of the parser's
    /// error.
    private(set) var isAboutItsBegin = false

    /// - Parameters:
    ///   - begin: the beginning of the value that was being read, and the character there.
    ///   - found: the character of the error; `nil` at the end of the file.
    ///   - isFirstInLine: whether only spaces are before it.
    init(
        problem: String, context: String?, begin: (mark: SourceMark, byte: UInt8?)? = nil, found: UInt8? = nil,
        isFirstInLine: Bool = true
    ) {
        let start = begin.map { "that begins in line \($0.mark.line), column \($0.mark.column)" } ?? ""
        let character = found.map { Self.name(of: $0) } ?? "the end of the file"
        switch (problem, context) {
        case ("did not find expected ',' or ']'", _):
            setOpen("list", closing: "]", start: start, found: found)
        case ("did not find expected ',' or '}'", _):
            setOpen("map", closing: "}", start: start, found: found)
        case ("found unexpected end of stream", _), ("found unexpected document indicator", _):
            message = "this quoted text is not closed"
            hint = "end it with the quote that it begins with"
            isAboutItsBegin = true
        case ("mapping values are not allowed in this context", _):
            message = "a colon that begins a value where no value is allowed"
            hint = "text with \": \" in it needs quotes; else compare the indentation with the line above"
        case ("could not find expected ':'", _):
            message = "a key without a colon"
            hint = "write key: value, with a space after the colon"
            isAboutItsBegin = true
        case ("did not find expected key", _) where !isFirstInLine:
            message = "text after the end of a value"
            hint = "if quotes are part of the text, put other quotes around all of it"
        case ("did not find expected key", _):
            message = "this line does not fit into the map \(start)"
            hint = "the keys of a map begin in the same column"
        case ("did not find expected '-' indicator", _):
            message = "this line does not fit into the list \(start)"
            hint = "every element begins with \"- \" in the same column; its content is indented further"
        case ("block sequence entries are not allowed in this context", _):
            message = "a list cannot begin here"
            hint = "put each \"- \" on a separate line below the key"
        case ("mapping keys are not allowed in this context", _):
            message = "a map cannot begin here"
            hint = "put it on a separate line, or into { }"
        case ("found character that cannot start any token", _):
            message = "text cannot begin with \(character)"
            hint = "write it in quotes"
        case ("did not find expected node content", _):
            message = "a value is missing before \(character)"
        case ("did not find expected alphabetic or numeric character", "while scanning an alias"):
            message = "* means \"the same as the anchor named\", and no name follows"
            hint = "text that begins with * needs quotes"
            isAboutItsBegin = true
        case ("did not find expected alphabetic or numeric character", _):
            message = "& means \"an anchor named\", and no name follows"
            hint = "text that begins with & needs quotes"
            isAboutItsBegin = true
        case ("found unknown escape character", _):
            message = "a backslash in double quotes that begins no known escape"
            hint = "write it twice (\\\\), or use single quotes"
        case ("control characters are not allowed", _):
            message = "a control character"
            hint = "remove it; in double quotes it can be written as an escape such as \\u0007"
        case ("did not find expected <document start>", _):
            message = "more text after the end of the document"
            hint = "a file is one list; each API begins with \"- \" in the same column"
        case ("found undefined tag handle", _), (_, "while scanning a tag"), (_, "while parsing a tag"):
            isAboutItsBegin = true
            message = "a word that begins with ! names a type"
            hint = "text that begins with ! needs quotes"
        default:
            message = problem + (context.map { " \($0) (\(start))" } ?? "")
        }
    }

    private mutating func setOpen(_ thing: String, closing: String, start: String, found: UInt8?) {
        if found == nil {
            message = "this \(thing) is not closed"
            hint = "end it with \(closing)"
            isAboutItsBegin = true
        } else {
            message = "expected a comma or \(closing) in the \(thing) \(start)"
            hint = "separate with commas, end with \(closing), and quote text that has any of [ ] { } , in it"
        }
    }

    private static func name(of byte: UInt8) -> String {
        byte > 32 && byte < 127 ? String(UnicodeScalar(byte)) : "this character"
    }
}
