import Testing

@testable import Commands

@Suite("O2: tables on narrow terminals")
struct TableTests {
    private func style(_ columns: Int) -> TextStyle {
        TextStyle(isTerminal: true, hasColor: false, size: .init(columns: columns, rows: 24))
    }

    private let table: Table = {
        var table = Table(
            ["id", "status", "attempts"].map { .init($0) } + [.init("error", isText: true)])
        table.append([
            "0190f3a2-5d1c-7aaa-8bbb-1234567890ab", "failed", "3", "container_status: the container answered 500",
        ])
        table.append(["0190f3a2-5d1c-7aaa-8bbb-1234567890ac", "in_queue", "0", ""])
        return table
    }()

    @Test("O2: a table that fits is not cut; in one that does not fit the text gets lines of its own")
    func fold() {
        #expect(
            table.render(style(120)) == """
                id                                     status     attempts   error
                0190f3a2-5d1c-7aaa-8bbb-1234567890ab   failed     3          container_status: the container answered 500
                0190f3a2-5d1c-7aaa-8bbb-1234567890ac   in_queue   0
                """)
        #expect(
            table.render(style(80)) == """
                id                                     status     attempts
                0190f3a2-5d1c-7aaa-8bbb-1234567890ab   failed     3
                  container_status: the container answered 500
                0190f3a2-5d1c-7aaa-8bbb-1234567890ac   in_queue   0
                """)
    }

    @Test("O2: columns move closer before anything else")
    func closer() {
        #expect(
            table.render(style(102)) == """
                id                                    status    attempts  error
                0190f3a2-5d1c-7aaa-8bbb-1234567890ab  failed    3         container_status: the container answered 500
                0190f3a2-5d1c-7aaa-8bbb-1234567890ac  in_queue  0
                """)
        #expect(
            table.render(style(60)) == """
                id                                     status     attempts
                0190f3a2-5d1c-7aaa-8bbb-1234567890ab   failed     3
                  container_status: the container answered 500
                0190f3a2-5d1c-7aaa-8bbb-1234567890ac   in_queue   0
                """)
    }

    @Test("O2: what fits in no way becomes a list, identifiers whole")
    func records() {
        #expect(
            table.render(style(40)) == """
                id: 0190f3a2-5d1c-7aaa-8bbb-1234567890ab
                status: failed
                attempts: 3
                error: container_status: the container
                  answered 500

                id: 0190f3a2-5d1c-7aaa-8bbb-1234567890ac
                status: in_queue
                attempts: 0
                """)
    }

    @Test("O2: no line is wider than the terminal as long as identifiers fit", arguments: Array(36...120))
    func width(columns: Int) {
        let lines = table.render(style(columns)).split(separator: "\n")
        let isList = lines[0].hasPrefix("id: ")
        #expect(isList || lines.allSatisfy { $0.count <= columns })
        #expect(lines.contains { $0.contains("0190f3a2-5d1c-7aaa-8bbb-1234567890ab") })
    }

    @Test(
        "O2: wide characters take two columns, marks none",
        arguments: [("abc", 3), ("日本語", 6), ("e\u{301}", 1), ("🙂", 2), ("ä✓", 2), ("", 0)])
    func displayWidth(text: String, width: Int) {
        #expect(text.displayWidth == width)
    }

    @Test("O2: a text is cut between characters")
    func cut() {
        #expect(Table.cut("日本語です", to: 8) == "日本...")
    }
}
