import APIConfiguration
import Core
import Foundation
import Testing

@Suite("Y3, O2: long texts on a terminal")
struct TextWrapTests {
    @Test("O2: text that fits is unchanged, including spaces")
    func fits() {
        for text in ["", "a", "  a  b ", String(repeating: "x", count: 20)] {
            #expect(TextWrap.lines(text, columns: 20, indent: 4) == [text])
        }
    }

    @Test("O2: lines are wrapped between words, and further lines are indented")
    func between() {
        #expect(
            TextWrap.lines("error: no API \"x\" is deployed: see cortex get", columns: 24, indent: 2)
                == ["error: no API \"x\" is", "  deployed: see cortex", "  get"])
        #expect(TextWrap.lines("  led by  spaces", columns: 10, indent: 1) == ["  led by", " spaces"])
        #expect(TextWrap.lines("日本語 日本語 日本", columns: 13) == ["日本語 日本語", "日本"])
    }

    @Test("O2: an address that is longer than a line stays whole, so that it can be copied")
    func long() {
        let address = "http://" + String(repeating: "a", count: 40) + ":8889/hello"
        #expect(
            TextWrap.lines("see \(address) for more", columns: 20, indent: 2) == ["see", "  \(address)", "  for more"])
        #expect(TextWrap.lines(address, columns: 20) == [address])
    }

    @Test("O2: nothing is lost and no line is too wide, for any width")
    func always() {
        let words = (0..<60).map { String(repeating: "w", count: $0 % 9 + 1) }
        let text = words.joined(separator: " ")
        for columns in 14...90 {
            let lines = TextWrap.lines(text, columns: columns, indent: 4)
            #expect(lines.allSatisfy { $0.count <= columns })
            #expect(lines.flatMap { $0.split(separator: " ").map(String.init) } == words)
            #expect(lines.dropFirst().allSatisfy { $0.hasPrefix(" ") })
        }
    }
}
