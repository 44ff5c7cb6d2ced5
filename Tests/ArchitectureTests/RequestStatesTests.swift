import Core
import Foundation
import Testing

@Suite("Architecture: the diagram of a request's states")
struct RequestStatesTests {
    struct Arrow: Hashable, CustomStringConvertible {
        var from: String
        var to: String
        var change: String
        var description: String { "\(from) --> \(to) : \(change)" }
    }

    @Test("A2: docs/request-states.md shows exactly the transitions of the table in Core")
    func picture() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "docs/request-states.md"), encoding: .utf8)
        var drawn: Set<Arrow> = []
        for line in text.split(separator: "\n") where line.contains(" --> ") && !line.contains("[*]") {
            let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
            try #require(words.count == 5, "\(line)")
            drawn.insert(Arrow(from: words[0], to: words[2], change: words[4]))
        }
        var table: Set<Arrow> = []
        for change in RequestTransition.allCases {
            let (from, to) = change.arrow
            for status in from {
                table.insert(Arrow(from: status.rawValue, to: to.rawValue, change: change.rawValue))
            }
            // The row that explains it.
            let row = "| `\(change.rawValue)` | "
            #expect(text.contains(row), "\(change.rawValue) is not explained")
        }
        #expect(drawn == table)
    }
}
