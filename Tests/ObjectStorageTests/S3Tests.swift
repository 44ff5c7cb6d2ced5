import Core
import TestSupport
import Testing

@testable import ObjectStorage

@Suite("Requests and answers of S3")
struct S3Tests {
    /// The examples of the service's documentation (Signature Calculations for the Authorization Header).
    private let signature = S3Signature(
        accessKey: "AKIAIOSFODNN7EXAMPLE", secretKey: Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        sessionToken: nil, region: "us-east-1")
    private let now = Timestamp(seconds: 1_369_353_600)
    private let host = "examplebucket.s3.amazonaws.com"

    private func sign(path: String, query: String, range: String? = nil) -> String? {
        signature.headers(host: host, path: path, query: query, range: range, now: now)
            .first { $0.0 == "authorization" }?.1
    }

    @Test("B4: requests are signed as the service documents it")
    func signatures() {
        #expect(
            sign(path: "/test.txt", query: "", range: "bytes=0-9")?.hasSuffix(
                "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            ) == true)
        #expect(
            sign(path: "/", query: "max-keys=2&prefix=J")?.hasSuffix(
                "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7") == true)
    }

    @Test("B4: a session token is signed too, and no secret is in a header")
    func session() {
        var signature = signature
        signature.sessionToken = Secret("token")
        let headers = signature.headers(host: host, path: "/", query: "", range: nil, now: now)
        #expect(headers.contains { $0 == ("x-amz-security-token", "token") })
        #expect(headers.first { $0.0 == "authorization" }?.1.contains(";x-amz-security-token,") == true)
        #expect(!headers.contains { $0.1.contains("wJalrXUtn") })
    }

    @Test("B4: keys are encoded once, slashes stay")
    func encoding() {
        #expect(S3Signature.encode("a b+c/é%~", keepingSlashes: true) == "a%20b%2Bc/%C3%A9%25~")
        #expect(S3Signature.encode("a/b") == "a%2Fb")
    }

    @Test("B4: a page of a list, with names that are encoded")
    func page() throws {
        let text = """
            <?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix/>
            <IsTruncated>true</IsTruncated><NextContinuationToken>1/a&amp;b=</NextContinuationToken>
            <Contents><Key>a+b%2B%C3%A9/x.json</Key><Size>12</Size><ETag>&quot;9b2c&quot;</ETag><Owner><ID>x</ID></Owner></Contents>
            <Contents><Key>c</Key><Size>9000000000</Size><ETag>&#34;1&#x22;</ETag></Contents>
            </ListBucketResult>
            """
        let page = try S3Documents.page(text)
        #expect(page.objects.map(\.key) == ["a b+é/x.json", "c"])
        #expect(page.objects.map(\.size) == [12, 9_000_000_000])
        #expect(page.objects.map(\.tag) == ["\"9b2c\"", "\"1\""])
        #expect(page.next == "1/a&b=")
    }

    @Test("B4: the last page has no next one, whatever the server says")
    func lastPage() throws {
        let page = try S3Documents.page(
            "<ListBucketResult><IsTruncated>false</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>"
        )
        #expect(page == S3Documents.Page())
    }

    @Test(
        "B4: what is no list is an error",
        arguments: [
            "", "{}", "<html></html>", "<ListBucketResult>", "<ListBucketResult><a></ListBucketResult>", "<!-- ",
        ])
    func malformed(text: String) {
        #expect(throws: S3Documents.Malformed.self) { try S3Documents.page(text) }
    }

    @Test("B4: the code and the message of an error")
    func error() {
        let text = "<Error><Code>AccessDenied</Code><Message>Access &lt;Denied&gt;</Message><HostId>x</HostId></Error>"
        #expect(S3Documents.error(text) == "AccessDenied: Access <Denied>")
        #expect(S3Documents.error("no xml") == "")
    }

    @Test("B4: without credentials, or without a bucket, an s3:// URL is refused with the way out")
    func checks() throws {
        let clock = FixedClock()
        let without = try S3Source(environment: [:], endpoint: nil, clock: clock)
        let error = #expect(throws: PlatformError.self) { try without.check("s3://bucket/x") }
        #expect(error?.code == .notSupported)
        #expect(error?.message.contains("AWS_ACCESS_KEY_ID") == true)
        let environment = ["AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"]
        let source = try S3Source(environment: environment, endpoint: "http://127.0.0.1:9000/", clock: clock)
        try source.check("s3://bucket/x")
        for url in ["s3://", "s3:///x", "s3://B/x", "s3://ab/x", "s3://a_b/x"] {
            #expect(throws: PlatformError.self) { try source.check(url) }
        }
        for endpoint in ["x", "ftp://a", "http://a/path", "http://a?x"] {
            #expect(throws: PlatformError.self) {
                try S3Source(environment: environment, endpoint: endpoint, clock: clock)
            }
        }
    }
}

private struct FixedClock: PlatformClock {
    func now() -> Timestamp { Timestamp(seconds: 0) }
    func instant() -> Instant { Instant(seconds: 0) }
    func sleep(for duration: Duration) async throws {}
}
