package import Core
import Foundation

extension String {
    /// This text in one line without control characters: foreign text cannot move the cursor or hide a line.
    package var inOneLine: String {
        var result = ""
        for scalar in unicodeScalars {
            switch scalar.value {
            case 0x0A, 0x0D, 0x09: result.append(" ")
            case _ where scalar.steersTerminal: result.append("\u{FFFD}")
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// A log line for a terminal: colours, bold and underline are kept, every other control sequence becomes visible as
    /// U+FFFD.
    package var withoutControls: String {
        replacingControls { scalar, _ in scalar.steersTerminal ? "\u{FFFD}" : nil }
    }

    /// The last part of a line that was overwritten with carriage returns, as progress bars do: what a terminal shows
    /// in the end.
    package var lastOverwrite: Substring {
        var pieces = unicodeScalars.split(separator: "\r")
        return pieces.popLast().map(Substring.init) ?? ""
    }

    /// A whole text for a terminal: line ends, tabs, colours, bold and underline are kept. Other control characters
    /// become `\uXXXX`, which in JSON represents the same character.
    package var safeForTerminal: String {
        guard unicodeScalars.contains(where: { $0.steersTerminal && $0 != "\n" }) else { return self }
        return replacingControls { scalar, next in
            switch scalar {
            case "\n": return nil
            // Between the tokens of a document it is white space.
            case "\r": return next == "\n" ? "" : "\n"
            case _ where scalar.steersTerminal:
                let digits = String(scalar.value, radix: 16)
                return "\\u\(String(repeating: "0", count: 4 - digits.count))\(digits)"
            default: return nil
            }
        }
    }

    /// - Parameter replacement: gets each character outside of colour sequences, and the next one; `nil` keeps it.
    private func replacingControls(
        _ replacement: (_ scalar: Unicode.Scalar, _ next: Unicode.Scalar?) -> String?
    ) -> String {
        var result = String.UnicodeScalarView()
        var rest = unicodeScalars[...]
        while let scalar = rest.first {
            if scalar == "\u{1B}", let end = Self.endOfColor(rest) {
                result.append(contentsOf: rest[..<end])
                rest = rest[end...]
                continue
            }
            rest = rest.dropFirst()
            if let text = replacement(scalar, rest.first) {
                result.append(contentsOf: text.unicodeScalars)
            } else {
                result.append(scalar)
            }
        }
        return String(result)
    }

    /// The end of the sequence (`ESC [ digits and semicolons m`) at the beginning of `text`, if it sets only colours,
    /// bold and underline: hidden, blinking or reversed text is not kept (contract N8).
    private static func endOfColor(_ text: Substring.UnicodeScalarView) -> String.Index? {
        var index = text.index(after: text.startIndex)
        guard index < text.endIndex, text[index] == "[" else { return nil }
        index = text.index(after: index)
        var parameters = String.UnicodeScalarView()
        while index < text.endIndex {
            let scalar = text[index]
            index = text.index(after: index)
            if scalar == "m" { return areColors(String(parameters)) ? index : nil }
            guard ("0"..."9").contains(scalar) || scalar == ";" else { return nil }
            parameters.append(scalar)
        }
        return nil
    }

    private static func areColors(_ parameters: String) -> Bool {
        var codes = parameters.split(separator: ";", omittingEmptySubsequences: false).map { $0.isEmpty ? 0 : Int($0) }[
            ...]
        while let next = codes.popFirst() {
            // A number that is too large.
            guard let code = next else { return false }
            switch code {
            case 0, 1, 4, 22, 24, 30...37, 39, 40...47, 49, 90...97, 100...107: continue
            // A colour of a palette (5;n) or by its parts (2;red;green;blue).
            case 38, 48:
                let count = codes.first == 5 ? 1 : codes.first == 2 ? 3 : nil
                guard let count, codes.count > count,
                    codes.dropFirst().prefix(count).allSatisfy({ $0.map { (0...255).contains($0) } ?? false })
                else { return false }
                codes = codes.dropFirst(count + 1)
            default: return false
            }
        }
        return true
    }
}

extension Unicode.Scalar {
    /// Whether a terminal does not simply display this character: control characters except the tab, and characters
    /// that change the direction or the order of the text around them.
    package var steersTerminal: Bool {
        switch value {
        case 0x09: false
        case 0..<0x20, 0x7F..<0xA0, 0x061C, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}

/// Ages as the original wrote them: `12s`, `3m4s`, `5h6m`, `7d8h` (reference: cortex.md §9.3).
package enum Age {
    /// `duration` in its two largest units; a negative one is `0s`.
    package static func text(of duration: Duration) -> String {
        let seconds = max(0, duration.components.seconds)
        switch seconds {
        case ..<60: return "\(seconds)s"
        case ..<3600: return "\(seconds / 60)m\(seconds % 60)s"
        case ..<(48 * 3600): return "\(seconds / 3600)h\(seconds % 3600 / 60)m"
        default: return "\(seconds / 86_400)d\(seconds % 86_400 / 3600)h"
        }
    }

    /// - Parameter seconds: since 1970.
    package static func since(seconds: Int64, now: Timestamp) -> String {
        text(of: .seconds(now.seconds - seconds))
    }

    /// - Parameter rfc3339: a moment as the platform writes it; `-` for none or another form.
    package static func since(rfc3339: String?, now: Timestamp) -> String {
        guard let rfc3339, let date = try? Date(rfc3339, strategy: .iso8601) else { return "-" }
        return since(seconds: Int64(date.timeIntervalSince1970), now: now)
    }
}
