import Client
import NIOCore
import NIOPosix
import Support

/// Writes a response to standard output as it arrives: byte for byte, and on a terminal with escapes for what could
/// steer it (contract N8).
struct ResponseOutput {
    private let console: Console
    /// `nil` where the output is no terminal.
    private var terminal: TerminalText?
    private var endsLine = true

    init(_ console: Console) {
        self.console = console
        self.terminal = console.style.isTerminal ? TerminalText() : nil
    }

    /// Writes the status line and the fields as HTTP/1.1 has them, and the empty line after them.
    mutating func write(head response: CallResponse) async throws {
        var text = "\(response.version) \(response.status)\r\n"
        for (name, value) in response.headers { text += "\(name): \(value)\r\n" }
        try await write(ByteBuffer(string: text + "\r\n"))
    }

    /// Writes bytes; returns once they are written.
    ///
    /// - Throws: ``BrokenPipe`` when the reader is gone.
    mutating func write(_ bytes: ByteBuffer) async throws {
        let text = terminal?.text(after: bytes.readableBytesView)
        try await put(text.map(ByteBuffer.init(string:)) ?? bytes)
    }

    /// Writes what a terminal has not got yet, and a line end so that its prompt has a line of its own.
    mutating func finish() async throws {
        guard let rest = terminal?.rest() else { return }
        try await put(ByteBuffer(string: rest))
        if !endsLine { try await put(ByteBuffer(string: "\n")) }
    }

    private mutating func put(_ bytes: ByteBuffer) async throws {
        guard let last = bytes.readableBytesView.last else { return }
        endsLine = last == UInt8(ascii: "\n")
        // A reader that is slow blocks the write.
        try await NIOThreadPool.singleton.runIfActive { [console] in try console.write(bytes.readableBytesView) }
    }
}

/// A text for a terminal that arrives in parts, which may end anywhere.
///
/// Held back until the next part: a character that is not complete, a carriage return that may belong to a line end,
/// and a sequence that may set a colour.
struct TerminalText {
    private var held: [UInt8] = []

    /// Longest sequence that sets colours, in bytes: `ESC[38;2;255;255;255;48;2;255;255;255m` and some more.
    private static let longestSequence = 48

    /// What can be shown now that these bytes have arrived, with escapes for what could steer the terminal.
    mutating func text(after part: some Collection<UInt8>) -> String {
        let bytes = held + part
        let end = Self.completeEnd(of: bytes)
        held = Array(bytes[end...])
        return String(decoding: bytes[..<end], as: UTF8.self).safeForTerminal
    }

    /// What was held back, at the end of the text.
    mutating func rest() -> String {
        defer { held = [] }
        return String(decoding: held, as: UTF8.self).safeForTerminal
    }

    private static func completeEnd(of bytes: [UInt8]) -> Int {
        guard let last = bytes.last else { return 0 }
        if last == UInt8(ascii: "\r") { return bytes.count - 1 }
        if let escape = bytes.suffix(longestSequence).lastIndex(of: 0x1B) {
            let isOpen = bytes[(escape + 1)...].enumerated().allSatisfy { index, byte in
                index == 0
                    ? byte == UInt8(ascii: "[")
                    : (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: ";")
            }
            if isOpen { return escape }
        }
        for (length, index) in zip(1..., bytes.indices.reversed()).prefix(4) {
            switch bytes[index] {
            case 0x80..<0xC0: continue
            case 0xC0..<0xE0 where length < 2, 0xE0..<0xF0 where length < 3, 0xF0..<0xF8 where length < 4:
                return index
            default: return bytes.count
            }
        }
        return bytes.count
    }
}
