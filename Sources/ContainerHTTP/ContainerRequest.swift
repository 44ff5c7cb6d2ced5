package import Core
package import NIOHTTP1

/// The request that a container gets (contract C1–C3). Pure.
package enum ContainerRequest {
    /// `POST /` with the caller's query string and end-to-end headers. The gateway has filtered the headers already,
    /// but stored headers are not trusted.
    package static func head(for request: ClaimedRequest, port: Int) -> HTTPRequestHead {
        var headers = HTTPHeaders()
        headers.reserveCapacity(request.headers.count + 3)
        headers.add(name: "Host", value: "localhost:\(port)")
        headers.add(name: "Content-Length", value: String(request.payload.size))
        headers.add(name: "X-Cortex-Request-ID", value: request.id.description)
        var connection: [String] = []
        for field in request.headers where field.name.utf8.count == 10 && field.name.lowercased() == "connection" {
            connection.append(field.value)
        }
        let passed = EndToEndHeaders(connection: connection)
        for field in request.headers {
            guard passed.contains(field.name), isToken(field.name), isFieldValue(field.value) else { continue }
            headers.add(name: field.name, value: field.value)
        }
        return HTTPRequestHead(version: .http1_1, method: .POST, uri: target(query: request.query), headers: headers)
    }

    /// The path stays `/`; a byte that would end the request line is escaped.
    static func target(query: String?) -> String {
        guard let query else { return "/" }
        guard query.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }) else { return "/?" + query }
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes = Array("/?".utf8)
        for byte in query.utf8 {
            if byte <= 0x20 || byte == 0x7F {
                bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func isToken(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"),
                    UInt8(ascii: "%"), UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"),
                    UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"),
                    UInt8(ascii: "|"), UInt8(ascii: "~"):
                    true
                default: false
                }
            }
    }

    private static func isFieldValue(_ value: String) -> Bool {
        value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
    }
}
