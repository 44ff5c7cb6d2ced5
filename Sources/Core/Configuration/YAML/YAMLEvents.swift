// Yams' own composer stops at the first duplicate key, hashes keys through aliases (so a small file can keep it busy for ever), and forgets
// where an alias stood. The file's problems are to be reported all at once, so we read the events of the libyaml inside Yams ourselves.
import CYaml
import Yams

/// What libyaml reports of a document, one piece after the other. Not thread-safe: one parse, one owner.
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
    }

    // libyaml keeps pointers into both, so they live at fixed addresses until the parse is over.
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

    /// The next piece and where it begins.
    mutating func next() throws(SyntaxError) -> (event: Event, mark: SourceMark) {
        var event = yaml_event_t()
        defer { yaml_event_delete(&event) }
        while true {
            guard yaml_parser_parse(parser, &event) == 1 else { throw syntaxError() }
            let mark = SourceMark(line: event.start_mark.line + 1, column: event.start_mark.column + 1)
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

    private func text(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        pointer.map { String(cString: $0) }
    }

    private func syntaxError() -> SyntaxError {
        let state = parser.pointee
        let problem = state.problem.map { String(cString: $0) } ?? "cannot be read"
        if state.error == YAML_READER_ERROR {
            return SyntaxError(mark: mark(ofOffset: state.problem_offset), message: problem)
        }
        let mark = SourceMark(line: state.problem_mark.line + 1, column: state.problem_mark.column + 1)
        if input.indices.contains(state.problem_mark.index), isTab(at: mark) {
            return SyntaxError(mark: mark, message: "a tab character; indent with spaces")
        }
        let context =
            state.context.map {
                " \(String(cString: $0)) (begun in line \(state.context_mark.line + 1), "
                    + "column \(state.context_mark.column + 1))"
            } ?? ""
        return SyntaxError(mark: mark, message: problem + context)
    }

    private func isTab(at mark: SourceMark) -> Bool {
        var line = 1
        var column = 1
        for byte in input {
            if line == mark.line, column == mark.column { return byte == UInt8(ascii: "\t") }
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return false
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
