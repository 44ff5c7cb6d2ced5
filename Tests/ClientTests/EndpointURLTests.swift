import Core
import Testing
import Wire

@testable import Client

@Suite("O1: URLs as people type them")
struct EndpointURLTests {
    @Test(
        "O1: the scheme is http for this machine and the cluster's names, https for all else",
        arguments: [
            ("localhost:8888", "http://localhost:8888"),
            ("127.0.0.1", "http://127.0.0.1"),
            ("[::1]:8888", "http://[::1]:8888"),
            ("operator.default.svc.cluster.local:8888", "http://operator.default.svc.cluster.local:8888"),
            ("cortex.example.com", "https://cortex.example.com"),
            ("HTTP://Example.COM:80/", "http://example.com:80"),
            (" https://example.com/cortex// ", "https://example.com/cortex"),
        ])
    func reads(input: String, text: String) throws {
        #expect(try EndpointURL(input).text == text)
    }

    @Test(
        "O1: what is no URL is a usage error",
        arguments: ["", "://", "ftp://example.com", "http://", "http://user@host", "http://host?x=1", "http://h:99999"])
    func refuses(input: String) {
        let error = #expect(throws: PlatformError.self) { try EndpointURL(input) }
        #expect(error?.code == .usage)
    }

    @Test(
        "N9: a URL with a password or a token in it is refused and never shown with it",
        arguments: [
            "http://ada:hidden@host", "ada:hidden@host:99999", "http://host?token=hidden", "http://host/#hidden",
            "http://ada:hid@hidden@host?x=hidden", "://ada:hidden@x",
        ])
    func secretsInURLs(input: String) {
        let error = #expect(throws: PlatformError.self) { try EndpointURL(input) }
        #expect(error?.message.contains("hid") == false, "\(error?.message ?? "")")
        #expect(!EndpointURL.withoutSecrets(input).contains("hid"))
        #expect(EndpointURL.withoutSecrets("https://example.com/a") == "https://example.com/a")
    }

    @Test("R24: a call's target is the endpoint and the path; an API at the root has one that begins with a slash")
    func callTargets() throws {
        #expect(try APICall.target(of: EndpointURL("http://h:1/a/b"), path: "/c?d") == "/a/b/c?d")
        #expect(try APICall.target(of: EndpointURL("http://h:1/a"), path: "?d") == "/a?d")
        #expect(try APICall.target(of: EndpointURL("http://h:1/"), path: "?d") == "/?d")
        #expect(try APICall.target(of: EndpointURL("http://h:1"), path: "/") == "/")
    }

    @Test(
        "C10: the gateway is the cluster's own name inside a container, the public URL elsewhere",
        arguments: [
            (
                "http://operator.default.svc.cluster.local:8888", "http://127.0.0.1:8889/hello",
                "http://ingressgateway-apis.istio-system.svc.cluster.local/hello"
            ),
            (
                "http://ingressgateway-operator.istio-system.svc.cluster.local", "https://example.com/a/b",
                "http://ingressgateway-apis.istio-system.svc.cluster.local/a/b"
            ),
            ("http://127.0.0.1:8888", "http://127.0.0.1:8889/hello", "http://127.0.0.1:8889/hello"),
            ("http://big:8888", "http://127.0.0.1:8889/hello", "http://big:8889/hello"),
            ("https://cortex.example.com", "https://apis.example.com/x", "https://apis.example.com/x"),
        ])
    func gateway(operatorURL: String, endpoint: String, expected: String) throws {
        let environment = Environment(name: "e", operatorEndpoint: operatorURL)
        #expect(try EndpointURL.gateway(of: APIDocument(endpoint: endpoint), in: environment).text == expected)
    }
}
