package import Core

/// Problems of a file for a terminal: place and message, the line of the file with the wrong part underlined, and what
/// to do.
///
/// A pure function. Its input are the documents that a server sends, so it shows the problems of any server version.
package struct ProblemRenderer: Sendable {
    /// The shown name of the file, such as the path that was typed; `nil` keeps the name in the problems.
    package var file: String?
    package var source: SourceText
    /// Width of the terminal: lines of the file are cut to it, messages are wrapped between words.
    package var columns: Int
    package var hasColor: Bool

    package init(file: String?, source: SourceText, columns: Int, hasColor: Bool) {
        self.file = file
        self.source = source
        self.columns = columns
        self.hasColor = hasColor
    }

    /// All problems, separated by an empty line.
    package func render(_ problems: [ReportedProblem]) -> String {
        let last = problems.compactMap(\.line).filter { source[$0] != nil }.max() ?? 0
        let gutter = String(last).count
        return problems.map { render($0, gutter: gutter) }.joined(separator: "\n\n")
    }

    private func render(_ problem: ReportedProblem, gutter: Int) -> String {
        let blank = String(repeating: " ", count: gutter + 1)
        var lines = headline(of: problem)
        if let number = problem.line, let text = source[number] {
            let label = String(number)
            let excerpt = SourceExcerpt(
                text, column: problem.column ?? 1, length: problem.length ?? 1, columns: max(20, columns - gutter - 4))
            let padding = String(repeating: " ", count: gutter + 1 - label.count)
            lines.append(blue("\(padding)\(label) |") + (excerpt.text.isEmpty ? "" : " \(excerpt.text)"))
            lines.append(blue("\(blank) |") + " " + excerpt.indent + red(excerpt.underline))
        }
        for advice in problem.advice {
            let parts = TextWrap.lines(Self.visible(advice), columns: max(20, columns - gutter - 4))
            let margin = String(repeating: " ", count: gutter + 4)
            lines.append(blue("\(blank) =") + " " + parts[0])
            lines += parts.dropFirst().map { margin + $0 }
        }
        return lines.joined(separator: "\n")
    }

    private func headline(of problem: ReportedProblem) -> [String] {
        let name = file ?? problem.file ?? "cortex.yaml"
        let text = Self.visible(problem.headline(file: name))
        let place = Self.visible(problem.place(file: name))
        var lines = TextWrap.lines(text, columns: columns, indent: Self.indent)
        if hasColor, lines[0].hasPrefix(place) {
            lines[0] = "\u{1B}[1m\(place)\u{1B}[0m" + lines[0].dropFirst(place.count)
        }
        return lines
    }

    /// The indentation of the headline's further lines.
    private static let indent = 4

    private func blue(_ text: String) -> String { hasColor ? "\u{1B}[34m\(text)\u{1B}[0m" : text }
    private func red(_ text: String) -> String { hasColor ? "\u{1B}[1;31m\(text)\u{1B}[0m" : text }

    /// One line, without characters that could move the cursor: a server's text is only shown.
    private static func visible(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            result.append(
                scalar != " " && scalar.isInvisible && !SourceExcerpt.joiners.contains(scalar) ? "\u{FFFD}" : scalar)
        }
        return String(result)
    }
}

/// The lines of a file, separated at YAML's line ends.
package struct SourceText: Sendable {
    private let lines: [Substring.UnicodeScalarView]

    /// - Parameter bytes: invalid UTF-8 becomes U+FFFD, one for each problem that a reader would have.
    package init(_ bytes: [UInt8]) {
        let text = String(
            decoding: bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes[...], as: UTF8.self)
        var lines: [Substring.UnicodeScalarView] = []
        let scalars = Substring(text).unicodeScalars
        var start = scalars.startIndex
        var index = start
        while index < scalars.endIndex {
            let scalar = scalars[index]
            let next = scalars.index(after: index)
            guard Self.breaks.contains(scalar) else {
                index = next
                continue
            }
            lines.append(scalars[start..<index])
            let isPair = scalar == "\r" && next < scalars.endIndex && scalars[next] == "\n"
            index = isPair ? scalars.index(after: next) : next
            start = index
        }
        lines.append(scalars[start...])
        self.lines = lines
    }

    private static let breaks: Set<Unicode.Scalar> = ["\n", "\r", "\u{85}", "\u{2028}", "\u{2029}"]

    /// A line, counted from 1; `nil` if there is none.
    package subscript(number: Int) -> Substring.UnicodeScalarView? {
        lines.indices.contains(number - 1) ? lines[number - 1] : nil
    }
}
