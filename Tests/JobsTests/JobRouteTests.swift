import Core
import NIOHTTP1
import Testing

@testable import Jobs
@testable import Operator

@Suite("Paths and access of jobs")
struct JobRouteTests {
    @Test(
        "J1: the paths below the base",
        arguments: [
            ("", JobPath.jobs), ("/", .jobs), ("/schedules", .schedules), ("/x", .job("x")), ("/x/", .job("x")),
            ("/a%20b", .job("a b")), ("/x/retry", .retry("x")), ("/x/results", .results("x")),
            ("/x/items", .items("x")),
            ("/x/artifacts", .artifacts("x")), ("/x/artifacts.tar", .artifactArchive("x")),
            ("/x/artifacts/0/a/b.txt", .artifact("x", worker: "0", path: "a/b.txt")),
            ("/x/artifacts/0/a%0Ab", .artifact("x", worker: "0", path: "a\nb")),
        ])
    func paths(text: String, expected: JobPath) {
        #expect(JobPath(text[...]) == expected)
    }

    @Test(
        "J1: nothing else is reachable below the base",
        arguments: [
            "//", "/x//results", "/x%2Fresults", "/x/other", "/x/artifacts/0", "/x/artifacts//a", "x", "/%", "/x/%zz",
            "/x/results/y",
        ])
    func noPath(text: String) {
        #expect(JobPath(text[...]) == nil)
    }

    @Test("O1, J1: the OpenAPI document has every path and method of the routes of jobs, and no other")
    func described() throws {
        let names = ["{api}": "sum", "{id}": "x", "{worker}": "0", "{path}": "a"]
        let described = Dictionary(grouping: OpenAPIJobRoute.all, by: \.path).mapValues { routes in
            routes.map(\.method.rawValue).sorted()
        }
        var paths: [APIKind: Set<JobPath>] = [:]
        for (path, methods) in described {
            let sample = names.reduce(path) { $0.replacing($1.key, with: $1.value) }
            let call = try #require(JobsAtOperator.split(sample), "\(path)")
            let found = try #require(JobPath(call.rest), "\(path)")
            paths[call.kind, default: []].insert(found)
            #expect(methods == JobRoutes.methods(found).filter { $0 != .HEAD }.map(\.rawValue).sorted(), "\(path)")
        }
        let common: Set<JobPath> = [.jobs, .schedules, .job("x"), .retry("x")]
        #expect(paths[.batch] == common.union([.results("x"), .items("x")]))
        #expect(
            paths[.task]
                == common.union([.artifacts("x"), .artifactArchive("x"), .artifact("x", worker: "0", path: "a")]))
    }

    @Test("J1: who may call, for every way of arrival and every token")
    func access() {
        for arrival in JobAccess.Arrival.allCases {
            for credential in JobAccess.Credential.allCases {
                for hasOrigin in [false, true] {
                    let expected =
                        switch (arrival, credential) {
                        case (.gateway, _): true
                        case (_, .wrong): false
                        case (_, .pod), (_, .admin): true
                        case (.podSocket, .none), (.operatorOnLoopback, .none): !hasOrigin
                        case (.operatorOnNetwork, .none): false
                        }
                    #expect(
                        JobAccess.isAllowed(arrival, credential, hasOrigin: hasOrigin) == expected,
                        "\(arrival) \(credential) \(hasOrigin)")
                }
            }
        }
    }

    @Test(
        "J1: paths of jobs at the operator",
        arguments: [
            ("/batch/sum", APIKind.batch, "sum", ""), ("/tasks/report/x/retry", .task, "report", "/x/retry"),
            ("/batch/sum/", .batch, "sum", "/"), ("/batch/a%62c", .batch, "abc", ""),
        ])
    func operatorPath(path: String, kind: APIKind, name: String, rest: String) {
        let call = JobsAtOperator.split(path)
        #expect(call?.kind == kind)
        #expect(call?.name == name)
        #expect(call.map { String($0.rest) } == rest)
    }

    @Test(
        "J1: other paths at the operator",
        arguments: ["/batch", "/batch/", "/batches/sum", "/get/sum", "//batch/sum", "/batch/a%2Fb"])
    func otherPath(path: String) {
        #expect(JobsAtOperator.split(path) == nil)
    }
}

@Suite("Tar archives")
struct TarArchiveTests {
    @Test("T6: headers have the size of blocks, a checksum, and pax records for long or foreign names")
    func headers() {
        let plain = TarArchive.header(path: "0/a.txt", size: 5, modified: 1)
        #expect(plain.count == 512)
        var copy = plain
        for index in 148..<156 { copy[index] = 0x20 }
        let sum = copy.reduce(0) { $0 + Int($1) }
        #expect(String(decoding: plain[148..<154], as: UTF8.self) == String(sum, radix: 8).leftPadded(to: 6))
        for name in ["0/" + String(repeating: "x", count: 200), "0/é"] {
            let long = TarArchive.header(path: name, size: 5, modified: 1)
            #expect(long.count == 1536)
            #expect(String(decoding: long[512...], as: UTF8.self).contains(" path=\(name)\n"))
        }
        #expect(TarArchive.padding(after: 512).isEmpty)
        #expect(TarArchive.padding(after: 513).count == 511)
    }
}

extension String {
    fileprivate func leftPadded(to width: Int) -> String { String(repeating: "0", count: max(0, width - count)) + self }
}
