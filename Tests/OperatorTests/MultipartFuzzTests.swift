import Core
import TestSupport
import Testing

@testable import Operator

@Suite("N4: hostile multipart bodies", .timeLimit(.minutes(10)))
struct MultipartFuzzTests {
    @Test("O1: no body makes the reader crash; what it takes is within the limits and part of the body")
    func parse() throws {
        let form = [
            "--b\r\nContent-Disposition: form-data; name=\"config\"; filename=\"cortex.yaml\"\r\nContent-Type: text/plain\r\n\r\n"
                + "- name: a\r\n\r\n--b--\r\n",
            "preamble\r\n--b \r\ncontent-disposition: form-data; name=x\r\n\r\n\r\n--b\r\n"
                + "Content-Disposition: form-data; name=\"y\"\r\nContent-Transfer-Encoding: binary\r\n\r\n--bc\r\n--b--",
        ]
        var fuzz = Fuzz(texts: form)
        for round in 0..<Fuzz.rounds(5000) {
            let body = fuzz.next()
            do {
                let read = try MultipartForm(body, boundary: "b")
                #expect(read.parts.count <= MultipartForm.partsLimit, "seed \(Fuzz.seed), round \(round)")
                let sum = read.parts.reduce(0) { $0 + $1.content.count }
                #expect(sum <= body.count, "seed \(Fuzz.seed), round \(round)")
            } catch let error as PlatformError {
                #expect(error.code == .badRequest, "seed \(Fuzz.seed), round \(round)")
            }
            _ = try? MultipartForm.boundary(ofContentType: String(decoding: body.prefix(300), as: UTF8.self))
        }
    }
}
