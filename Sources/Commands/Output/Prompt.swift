import Core
import Foundation

/// Questions on the terminal. They are asked on standard error, so that standard output stays data.
enum Prompt {
    /// Asks until it is answered with yes or no; the end of input means no.
    static func confirm(_ question: String, console: Console) -> Bool {
        while true {
            console.noteInPlace("\(question) (y/n): ")
            guard let answer = readLine()?.trimmingCharacters(in: .whitespaces).lowercased() else { return false }
            if ["y", "yes"].contains(answer) { return true }
            if ["n", "no"].contains(answer) { return false }
            console.note("please answer y or n")
        }
    }

    /// Asks for one line; `nil` when it is empty.
    static func line(_ question: String, console: Console) -> String? {
        console.noteInPlace("\(question): ")
        let answer = readLine()?.trimmingCharacters(in: .whitespaces) ?? ""
        return answer.isEmpty ? nil : answer
    }

    /// Asks for one line that is not shown while it is typed; `nil` when it is empty.
    ///
    /// - Throws: `CancellationError` on Ctrl-C. The terminal is as before on every way out.
    static func secret(_ question: String, console: Console) throws -> String? {
        var saved = termios()
        guard tcgetattr(STDIN_FILENO, &saved) == 0 else { return line(question, console: console) }
        var silent = saved
        // Without signals: otherwise Ctrl-C would leave a terminal that shows nothing.
        silent.c_lflag &= ~tcflag_t(ECHO | ICANON | ISIG)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved)
            console.note("")
        }
        console.noteInPlace("\(question): ")
        var answer: [UInt8] = []
        var byte: UInt8 = 0
        while read(STDIN_FILENO, &byte, 1) == 1, answer.count < 4096 {
            switch byte {
            case 0x03: throw CancellationError()
            case 0x04, UInt8(ascii: "\n"), UInt8(ascii: "\r"):
                let text = String(decoding: answer, as: UTF8.self).trimmingCharacters(in: .whitespaces)
                return text.isEmpty ? nil : text
            case 0x7F, 0x08: _ = answer.popLast()
            default: answer.append(byte)
            }
        }
        return nil
    }
}
