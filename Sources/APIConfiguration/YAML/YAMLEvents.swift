// Yams' own composer stops at the first duplicate key, hashes keys through aliases (so a small file can keep it busy
// for ever), and loses the place of an alias. All problems of a file must be reported at once, so this file reads the
// events of Yams' libyaml.
import CYaml
import Yams

/// The events of libyaml for a document, one after the other. Not thread-safe: one parse, one owner.
struct YAMLEvents: ~Copyable {
    enum Event {
        case documentStart
        case scalar(text: String, isPlain: Bool, anchor: String?, tag: String?)
        case alias(String)
        case sequenceStart(anchor: String?, tag: String?)
        case sequenceEnd
        case mappingStart(anchor: String?, tag: String?)
        case mappingEnd
        case documentEnd
        case streamEnd
    }

    struct SyntaxError: Error {
        var mark: SourceMark
        var message: String
        var hint: String?
        /// Whether libyaml's own limit of nesting ended the parse. It reads ahead, so that can come before the limit of
        /// this module.
        var isTooDeep = false
    }

    // libyaml keeps pointers into both, so they have fixed addresses until the parse is over.
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let input: UnsafeMutableBufferPointer<UInt8>

    init(_ bytes: some Collection<UInt8>) {
        parser = .allocate(capacity: 1)
        parser.initialize(to: yaml_parser_t())
        input = .allocate(capacity: bytes.count)
        _ = input.initialize(from: bytes)
        yaml_parser_initialize(parser)
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, input.baseAddress, input.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deinitialize(count: 1)
        parser.deallocate()
        input.deallocate()
    }

    /// The next event and its place.
    mutating func next() throws(SyntaxError) -> (event: Event, mark: SourceMark) {
        var event = yaml_event_t()
        defer { yaml_event_delete(&event) }
        while true {
            guard yaml_parser_parse(parser, &event) == 1 else { throw syntaxError() }
            let mark = Self.mark(from: event.start_mark, to: event.end_mark)
            switch event.type {
            case YAML_DOCUMENT_START_EVENT: return (.documentStart, mark)
            case YAML_DOCUMENT_END_EVENT: return (.documentEnd, mark)
            case YAML_STREAM_END_EVENT, YAML_NO_EVENT: return (.streamEnd, mark)
            case YAML_SEQUENCE_END_EVENT: return (.sequenceEnd, mark)
            case YAML_MAPPING_END_EVENT: return (.mappingEnd, mark)
            case YAML_ALIAS_EVENT: return (.alias(text(event.data.alias.anchor) ?? ""), mark)
            case YAML_SEQUENCE_START_EVENT:
                let data = event.data.sequence_start
                return (.sequenceStart(anchor: text(data.anchor), tag: text(data.tag)), mark)
            case YAML_MAPPING_START_EVENT:
                let data = event.data.mapping_start
                return (.mappingStart(anchor: text(data.anchor), tag: text(data.tag)), mark)
            case YAML_SCALAR_EVENT:
                let data = event.data.scalar
                let value = String(decoding: UnsafeBufferPointer(start: data.value, count: data.length), as: UTF8.self)
                return (
                    .scalar(
                        text: value, isPlain: data.style == YAML_PLAIN_SCALAR_STYLE, anchor: text(data.anchor),
                        tag: text(data.tag)), mark
                )
            default:
                yaml_event_delete(&event)
            }
        }
    }

    private static func mark(from start: yaml_mark_t, to end: yaml_mark_t) -> SourceMark {
        let isInOneLine = end.line == start.line && end.column > start.column
        return SourceMark(
            line: start.line + 1, column: start.column + 1, length: isInOneLine ? end.column - start.column : 1)
    }

    private func text(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        pointer.map { String(cString: $0) }
    }

    private func syntaxError() -> SyntaxError {
        let state = parser.pointee
        let problem = state.problem.map { String(cString: $0) } ?? "cannot be read"
        if state.error == YAML_READER_ERROR {
            let words = YAMLSyntaxWords(problem: problem, context: nil)
            return SyntaxError(mark: mark(ofOffset: state.problem_offset), message: words.message, hint: words.hint)
        }
        let mark = SourceMark(line: state.problem_mark.line + 1, column: state.problem_mark.column + 1)
        if problem.hasPrefix("Maximum nesting level reached") {
            return SyntaxError(mark: mark, message: problem, isTooDeep: true)
        }
        let start = SourceMark(line: state.context_mark.line + 1, column: state.context_mark.column + 1)
        if byte(at: state.problem_mark.index) == UInt8(ascii: "\t") {
            return SyntaxError(
                mark: mark, message: "a tab character where YAML requires spaces",
                hint: "indent with spaces; most editors can turn tabs into them")
        }
        let context = state.context.map { String(cString: $0) }
        let words = YAMLSyntaxWords(
            problem: problem, context: context, begin: (start, byte(at: state.context_mark.index)),
            found: byte(at: state.problem_mark.index), isFirstInLine: isFirstInLine(state.problem_mark))
        return SyntaxError(mark: words.isAboutItsBegin ? start : mark, message: words.message, hint: words.hint)
    }

    /// libyaml counts characters, not bytes; `nil` after the end.
    private func byte(at index: Int) -> UInt8? {
        var count = 0
        for byte in input where byte & 0xC0 != 0x80 {
            if count == index { return byte }
            count += 1
        }
        return nil
    }

    private func isFirstInLine(_ mark: yaml_mark_t) -> Bool {
        (0..<mark.column).allSatisfy { byte(at: mark.index - 1 - $0) == UInt8(ascii: " ") }
    }

    private func mark(ofOffset offset: Int) -> SourceMark {
        var mark = SourceMark(line: 1, column: 1)
        for byte in input.prefix(offset) {
            if byte == UInt8(ascii: "\n") {
                mark.line += 1
                mark.column = 1
            } else if byte & 0xC0 != 0x80 {
                mark.column += 1
            }
        }
        return mark
    }
}
