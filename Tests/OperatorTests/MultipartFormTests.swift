import Core
import TestSupport
import Testing

@testable import Operator

@Suite("Multipart forms")
struct MultipartFormTests {
    static func form(_ text: String, boundary: String = "xyz") throws -> [MultipartForm.Part] {
        try MultipartForm(Array(text.utf8), boundary: boundary).parts
    }

    @Test("O1: parts keep their bytes, whatever looks like a boundary in them")
    func parts() throws {
        let parts = try Self.form(
            "a preamble\r\n--xyz  \r\nContent-Disposition: form-data; name=\"config\"; filename=\"my \\\"app\\\".yaml\"\r\ncontent-type: application/yaml\r\n\r\n--xyz-\r\n--xyzz\r\nxyz\r\n\r\n\r\n--xyz\r\nContent-Disposition: form-data; name=empty\r\n\r\n\r\n--xyz--\r\nan epilogue"
        )
        #expect(
            parts == [
                .init(
                    name: "config", fileName: "my \"app\".yaml", content: Array("--xyz-\r\n--xyzz\r\nxyz\r\n\r\n".utf8)),
                .init(name: "empty", fileName: nil, content: []),
            ])
    }

    @Test("O1: a content type names its boundary")
    func boundary() throws {
        #expect(try MultipartForm.boundary(ofContentType: "multipart/form-data; boundary=abc") == "abc")
        #expect(
            try MultipartForm.boundary(ofContentType: "Multipart/Form-Data; charset=utf-8; Boundary=\"a b'c\"")
                == "a b'c")
        #expect(try MultipartForm.boundary(ofContentType: "application/json") == nil)
        #expect(try MultipartForm.boundary(ofContentType: "") == nil)
    }

    @Test(
        "A4: a boundary that is missing or not allowed is refused",
        arguments: [
            "", "; boundary", "; boundary=", "; boundary=\"a\r\nb\"", "; boundary=\"a \"", "; boundary=a\u{e9}",
        ])
    func badBoundary(parameters: String) {
        #expect(throws: PlatformError.self) {
            try MultipartForm.boundary(ofContentType: "multipart/form-data\(parameters)")
        }
    }

    @Test(
        "A4: what is not well formed is refused",
        arguments: [
            "", "--xyz", "--xyz--extra", "--xyz\r\n", "--xyz\nContent-Disposition: form-data; name=a\n\nx\n--xyz--",
            "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\nno end",
            "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\nno end\r\n--xyz",
            "--xyz\r\nContent-Disposition: form-data; name=a", "--xyz\r\n\r\nno name\r\n--xyz--",
            "--xyz\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--xyz--",
            "--xyz\r\nContent-Disposition: form-data\r\n\r\nx\r\n--xyz--", "--xyz\r\nno colon\r\n\r\nx\r\n--xyz--",
            "--xyz\r\n folded: x\r\n\r\nx\r\n--xyz--",
            "--xyz\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--xyz--",
            "--xyz\r\nX: \(String(repeating: "x", count: 9000))\r\n\r\nx\r\n--xyz--",
            "--xyz\r\n\(String(repeating: "X: x\r\n", count: 2000))\r\nx\r\n--xyz--",
            String(repeating: "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n", count: 17) + "--xyz--",
        ])
    func broken(text: String) throws {
        let error = try #require(throws: PlatformError.self) { try Self.form(text) }
        #expect(error.code == .badRequest)
    }

    @Test("A4: no bytes can break the reader", arguments: 0..<20)
    func hostile(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let good = Array(
            "--xyz\r\nContent-Disposition: form-data; name=\"config\"\r\n\r\nabc\r\n--xyz\r\nContent-Disposition: form-data; name=b\r\n\r\n\r\n--xyz--\r\n"
                .utf8)
        let pieces = [[13, 10], Array("--xyz".utf8), Array("--".utf8), [13], [0], Array("\"".utf8), Array(";".utf8)]
        for _ in 0..<500 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[index] = UInt8.random(in: .min ... .max, using: &random)
                case 1: bytes.removeSubrange(index..<min(bytes.count, index + Int.random(in: 1...9, using: &random)))
                default: bytes.insert(contentsOf: pieces.randomElement(using: &random) ?? [], at: index)
                }
                if bytes.isEmpty { bytes = [45] }
            }
            // Either parts or an error for the caller; a trap would end the test run.
            _ = try? MultipartForm(bytes, boundary: "xyz")
        }
    }
}
