import Core
import Testing

@Suite("End-to-end headers")
struct EndToEndHeadersTests {
    private static let ofTheHop = [
        "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer",
        "Transfer-Encoding", "Upgrade", "HTTP2-Settings", "Content-Length", "Host", "Accept-Encoding", "Expect",
        "Prefer", "X-Cortex-Request-ID", "X-Cortex-", "X-Cortex-Anything-Else",
    ]

    @Test(
        "C3: fields of the hop and of the platform are dropped in every spelling that servers fold", arguments: ofTheHop
    )
    func dropped(_ name: String) {
        let headers = EndToEndHeaders(connection: [])
        let half = String(
            name.enumerated().map { $0.offset % 2 == 0 ? $0.element : $0.element == "-" ? "_" : $0.element })
        for spelling in [
            name, name.lowercased(), name.uppercased(), name.replacing("-", with: "_"),
            name.uppercased().replacing("-", with: "_"), half,
        ] {
            #expect(!headers.contains(spelling), "\(spelling)")
        }
    }

    @Test(
        "C3: other fields are passed on, also such as resemble those",
        arguments: [
            "Content-Type", "Authorization", "Cookie", "Accept", "X-Cortex", "X-Cortexes", "X-Cortex.Request-ID",
            "Hosts",
            "Idempotency-Key", "T", "", "Proxy-Authorizations", "Content_Type", "xx-cortex-a",
        ])
    func passed(_ name: String) {
        #expect(EndToEndHeaders(connection: ["close", "Keep-Alive, upgrade"]).contains(name))
    }

    @Test("C3: names listed in Connection are dropped, but for Content-Type, which describes the body")
    func named() {
        let headers = EndToEndHeaders(connection: ["close, X-One ,,\tx_two", "content-type,CONTENT_TYPE", "X-Three"])
        for name in ["x-one", "X_ONE", "X-Two", "x_two", "x-three"] { #expect(!headers.contains(name), "\(name)") }
        for name in ["content-type", "x-four", "x-on"] { #expect(headers.contains(name), "\(name)") }
    }
}
