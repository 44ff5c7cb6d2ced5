import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import TestSupport
import Testing

/// Requests that are changed at random from a seed. Whatever is served must be a request by the letter of RFC 9112, and
/// the server must live.
@Suite("Fuzzed requests")
struct HeadFuzzTests {
    private static let corpus = [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a%20b?c=d&e HTTP/1.1\r\nHost: h:80\r\nAccept: */*\r\nX-A:\t b \r\n\r\n",
        "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Type: a/b\r\n\r\nhello",
        "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
        "POST /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://other/x?y HTTP/1.1\r\nHost: h\r\n\r\n",
        "\r\nDELETE /a/1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ]
    private static let words = [
        "\r\n", "\n", "\r", " ", "  ", "\t", "\0", ":", ",", "/", "#", "%", "Content-Length: 5\r\n", "Content-Length: ",
        "Transfer-Encoding: chunked\r\n", "chunked", "Host: x\r\n", " HTTP/1.1", "HTTP/1.0", "\r\n\r\n", "0\r\n\r\n",
        "+", "-",
        "0x", "1", "GET ", "\u{7F}", "é", "file://", "://", "*", "\r\n ", "_", ";", "\"",
    ]

    private static func mutated(using generator: inout SeededGenerator) -> [UInt8] {
        var bytes = Array((corpus.randomElement(using: &generator) ?? "").utf8)
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            let place = Int.random(in: 0...bytes.count, using: &generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: bytes.insert(contentsOf: (words.randomElement(using: &generator) ?? "").utf8, at: place)
            case 1 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &generator)
            case 2 where place < bytes.count: bytes.remove(at: place)
            case 3:
                let end = min(bytes.count, place + Int.random(in: 0...20, using: &generator))
                bytes.insert(contentsOf: bytes[place..<end], at: Int.random(in: 0...bytes.count, using: &generator))
            case 4: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 0...8, using: &generator)))
            default: if place < bytes.count { bytes[place] ^= 0x20 }
            }
        }
        return bytes
    }

    @Test("A4: of changed requests only well-formed ones are served", arguments: [1, 2, 3, 4] as [UInt64])
    func fuzz(seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let samples = (0..<400).map { _ in Self.mutated(using: &generator) }
        let handler: HTTPHandler = { request, body in
            let bytes = try await body.collect(upTo: 1 << 20)
            return OutgoingResponse(status: .ok, body: .bytes(ByteBuffer(string: "\(bytes.readableBytes)")))
        }
        try await withServer(handler: handler) { port, _ in
            for (index, sample) in samples.enumerated() {
                let answer = try await RawConnection.open(port: port) { connection in
                    // The server may close while bytes are still on their way.
                    do {
                        try await connection.send(bytes: sample)
                        connection.finish()
                        return try await connection.readToEnd()
                    } catch {
                        return ""
                    }
                }
                let first = answer.hasPrefix("HTTP/1.1 100") ? String(answer.drop { $0 != "\r\n" }) : answer
                guard first.contains("HTTP/1.1 200") || first.hasPrefix("HTTP/1.1 204") else { continue }
                // What was answered first need not be good where it was refused; what was served must be.
                guard !answer.hasPrefix("HTTP/1.1 4"), !answer.hasPrefix("HTTP/1.1 5") else { continue }
                #expect(
                    StrictRequest.accepts(sample),
                    "seed \(seed), \(index): \(String(decoding: sample, as: UTF8.self).debugDescription)")
            }
        }
    }
}

/// The grammar of RFC 9112 for one request, written down once more and as plainly as possible. What the RFC lets a
/// recipient accept is accepted.
private enum StrictRequest {
    static func accepts(_ bytes: [UInt8]) -> Bool {
        var rest = bytes.drop { $0 == 13 || $0 == 10 }
        guard let line = takeLine(&rest) else { return false }
        let words = line.split(separator: 32, omittingEmptySubsequences: false)
        guard words.count == 3, isToken(words[0]), !words[1].isEmpty,
            words[1].allSatisfy({ (0x21...0x7E).contains($0) }),
            !words[1].contains(35)
        else { return false }
        let version = String(decoding: words[2], as: UTF8.self)
        guard version == "HTTP/1.1" || version == "HTTP/1.0" else { return false }
        let target = String(decoding: words[1], as: UTF8.self).lowercased()
        guard
            target.hasPrefix("/") || target.hasPrefix("http://") || target.hasPrefix("https://")
                || target == "*" && words[0].elementsEqual("OPTIONS".utf8) || words[0].elementsEqual("CONNECT".utf8)
        else { return false }
        guard let fields = takeFields(&rest) else { return false }
        func values(_ name: String) -> [String] { fields.filter { $0.name == name }.map(\.value) }
        let (hosts, lengths, codings) = (values("host"), values("content-length"), values("transfer-encoding"))
        guard hosts.count == 1 || version == "HTTP/1.0" && hosts.isEmpty else { return false }
        guard lengths.count <= 1, codings.isEmpty || lengths.isEmpty else { return false }
        if !codings.isEmpty {
            return version == "HTTP/1.1" && codings.count == 1 && codings[0].lowercased() == "chunked"
                && takeChunks(&rest)
        }
        guard let text = lengths.first else { return true }
        guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }), let length = Int(text) else {
            return false
        }
        return rest.count >= length
    }

    private static func takeLine(_ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let end = rest.firstIndex(of: 10), end > rest.startIndex, rest[end - 1] == 13 else { return nil }
        defer { rest = rest[(end + 1)...] }
        let line = rest[..<(end - 1)]
        return line.contains(13) ? nil : line
    }

    private static func takeFields(_ rest: inout ArraySlice<UInt8>) -> [(name: String, value: String)]? {
        var fields: [(String, String)] = []
        while let line = takeLine(&rest) {
            if line.isEmpty { return fields }
            guard let colon = line.firstIndex(of: 58), isToken(line[..<colon]) else { return nil }
            let value = line[(colon + 1)...]
            guard value.allSatisfy({ $0 == 9 || $0 >= 32 && $0 != 127 }) else { return nil }
            var trimmed = value.drop { $0 == 32 || $0 == 9 }
            while let last = trimmed.last, last == 32 || last == 9 { trimmed.removeLast() }
            fields.append(
                (String(decoding: line[..<colon], as: UTF8.self).lowercased(), String(decoding: trimmed, as: UTF8.self))
            )
        }
        return nil
    }

    private static func takeChunks(_ rest: inout ArraySlice<UInt8>) -> Bool {
        while let line = takeLine(&rest) {
            let digits = line.prefix { $0 != 59 && $0 != 32 && $0 != 9 }
            guard let size = Int(String(decoding: digits, as: UTF8.self), radix: 16), size >= 0, digits.first != 43
            else { return false }
            if size == 0 { return takeFields(&rest) != nil }
            guard rest.count >= size + 2 else { return false }
            rest = rest.dropFirst(size)
            guard rest.first == 13, rest.dropFirst().first == 10 else { return false }
            rest = rest.dropFirst(2)
        }
        return false
    }

    private static func isToken(_ bytes: ArraySlice<UInt8>) -> Bool {
        !bytes.isEmpty && bytes.allSatisfy { $0 > 32 && $0 < 127 && !"\"(),/:;<=>?@[\\]{}".utf8.contains($0) }
    }
}
