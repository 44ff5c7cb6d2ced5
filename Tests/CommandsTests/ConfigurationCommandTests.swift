import APIConfiguration
import Client
import Core
import Foundation
import StubPlatform
import TestSupport
import Testing

@testable import Commands

@Suite("Y3: cortex.yaml on the command line", .timeLimit(.minutes(2)))
struct ConfigurationCommandTests {
    private static let bad = "- name: iris\n  kind: AsyncAPI\n  pod:\n    port: 70000\n    containers: [{name: a}]\n"
    private static let good = "- name: iris\n  kind: AsyncAPI\n  pod: {containers: [{name: a}]}\n"

    /// What an operator of another version says: kinds and fields that this CLI does not know.
    private static let refusal = """
        {"error": {"kind": "configuration_invalid", "message": "cortex.yaml:4:11: iris: pod.port: no", "problems": [
          {"file": "cortex.yaml", "line": 4, "column": 11, "length": 5, "api": "iris", "path": "pod.port", "kind": "news",
           "message": "must be less", "hint": "write 80", "text": "cortex.yaml:4:11: iris: pod.port: no", "later": [1]},
          {"message": "something else", "text": "something else"}]}}
        """

    private func with(_ body: (StubPlatform, URL) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in
            try await StubPlatform.with { stub in
                try EnvironmentStore(directory: folder.path).update {
                    $0.put(Environment(name: "local", operatorEndpoint: stub.url, token: "secret"))
                }
                let apis = folder.appending(path: "apis")
                try FileManager.default.createDirectory(at: apis, withIntermediateDirectories: true)
                try Self.bad.write(to: apis.appending(path: "cortex.yaml"), atomically: true, encoding: .utf8)
                try Self.good.write(to: apis.appending(path: "good.yaml"), atomically: true, encoding: .utf8)
                try await body(stub, folder)
            }
        }
    }

    @Test("Y3: deploy shows what the server found, one line a problem in a pipe, under the path that was typed")
    func pipe() async throws {
        try await with { stub, folder in
            stub.on("POST /deploy", .json(Self.refusal, status: 400))
            let process = try await CortexProcess.run(["deploy", "apis/cortex.yaml"], folder: folder)
            #expect(process.status == 1)
            #expect(process.output == "")
            #expect(
                process.errors == """
                    apis/cortex.yaml:4:11: iris: pod.port: must be less; write 80
                    apis/cortex.yaml: something else
                    error: apis/cortex.yaml has 2 problems; nothing was deployed

                    """)
        }
    }

    @Test("Y3: on a terminal the line of the file stands below, marked, in colour; without colour by NO_COLOR")
    func terminal() async throws {
        try await with { stub, folder in
            stub.on("POST /deploy", .json(Self.refusal, status: 400))
            let seen = try await CortexProcess.onTerminal(
                ["deploy", "apis/cortex.yaml"], folder: folder, until: "nothing was deployed")
            let plain = seen.replacing("\r\n", with: "\n")
            #expect(plain.contains("\u{1B}[1mapis/cortex.yaml:4:11\u{1B}[0m: iris: pod.port: must be less\n"))
            #expect(plain.contains("\u{1B}[34m 4 |\u{1B}[0m     port: 70000\n"))
            #expect(plain.contains("\u{1B}[34m   |\u{1B}[0m           \u{1B}[1;31m^^^^^\u{1B}[0m\n"))
            #expect(plain.contains("\u{1B}[34m   =\u{1B}[0m write 80\n"))
        }
        let problems = ConfigurationFile.parse(Array(Self.bad.utf8), fileName: "f", baseDirectory: nil).problems
        let style = TextStyle(isTerminal: true, hasColor: false, size: .init(columns: 80, rows: 24))
        let text = ProblemReport.text(
            of: problems.map { ReportedProblem($0) }, path: "f.yaml", content: Array(Self.bad.utf8), style: style)
        #expect(text.contains(" 4 |     port: 70000\n   |           ^^^^^\n"))
        #expect(!text.contains("\u{1B}"))
    }

    @Test("Y3: --check judges a file without any platform")
    func check() async throws {
        try await with { _, folder in
            let good = try await CortexProcess.run(["deploy", "apis/good.yaml", "--check"], folder: folder)
            #expect(good.status == 0)
            #expect(good.output == "apis/good.yaml is good: iris (AsyncAPI)\n")
            let bad = try await CortexProcess.run(["deploy", "apis/cortex.yaml", "--check"], folder: folder)
            #expect(bad.status == 1 && bad.output.isEmpty)
            #expect(
                bad.errors == """
                    apis/cortex.yaml:4:11: iris: pod.port: must be a whole number from 1 to 65535, found the number 70000
                    error: apis/cortex.yaml has 1 problem

                    """)
            let json = try await CortexProcess.run(
                ["deploy", "-", "--check", "-o", "json"], folder: folder,
                input: "- name: a\n  kind: TaskAPI\n  timeout: x\n")
            #expect(json.status == 1)
            let document = try JSONDecoder().decode(JSONValue.self, from: Data(json.output.utf8))
            guard case .object(let members) = document, case .array(let problems) = members["problems"] else {
                Issue.record("\(json.output)")
                return
            }
            #expect(problems.count == 2)
            #expect(json.errors.contains("timeout: must be a duration"))
            #expect(members["file"] == .string("standard input"))
            #expect(json.errors.hasPrefix("standard input:1:3: a: "), "\(json.errors)")
            #expect(json.errors.hasSuffix("error: standard input has 2 problems\n"), "\(json.errors)")
            let piped = try await CortexProcess.run(
                ["deploy", "-", "--check"], folder: folder,
                input: try String(contentsOf: folder.appending(path: "apis/good.yaml"), encoding: .utf8))
            #expect(piped.output == "standard input is good: iris (AsyncAPI)\n")
            let both = try await CortexProcess.run(["deploy", "--check", "--wait"], folder: folder)
            #expect(both.status == 2)
        }
    }

    @Test("J14: --check prints the next three times of each schedule, and checks its submission")
    func schedules() throws {
        func check(_ schedules: String) throws -> FileCheck {
            let text = """
                - name: report
                  kind: TaskAPI
                  pod: {containers: [{name: main, image: "r:1", command: [report], compute: {cpu: null}}]}
                  schedules:
                \(schedules)
                """
            return try FileCheck(
                ConfigurationUpload(content: Array(text.utf8), fileName: "cortex.yaml", directory: nil),
                file: "cortex.yaml", now: Timestamp(seconds: 1_800_000_000))
        }
        let good = try check(
            """
                - {name: nightly, cron: "@daily", time_zone: Europe/Berlin}
                - {name: often, every: 6h, suspended: true}
            """)
        #expect(good.problems.isEmpty, "\(good.problems.map(\.text))")
        #expect(
            good.text(path: "cortex.yaml") == """
                cortex.yaml is good: report (TaskAPI)
                schedule nightly of report: next times
                  2027-01-16T00:00:00+01:00
                  2027-01-17T00:00:00+01:00
                  2027-01-18T00:00:00+01:00
                schedule often of report (suspended): next times
                  2027-01-15T12:00:00Z
                  2027-01-15T18:00:00Z
                  2027-01-16T00:00:00Z
                """)
        let bad = try check(
            """
                - name: nightly
                  every: 1h
                  job: {workers: 0}
            """)
        #expect(bad.problems.map(\.path) == ["schedules[0].job.workers"], "\(bad.problems.map(\.text))")
        #expect(bad.problems.first?.line == 7 && bad.apis.isEmpty)
    }

    @Test("Y3: cortex schema prints the schema, of all kinds or of one, as JSON or YAML")
    func schema() async throws {
        try await withTemporaryDirectory { folder in
            for words in [[], ["-o", "json"], ["--kind", "AsyncAPI"]] {
                let process = try await CortexProcess.run(["schema"] + words, folder: folder)
                #expect(process.status == 0 && process.errors.isEmpty)
                let document = try JSONDecoder().decode(JSONValue.self, from: Data(process.output.utf8))
                #expect(
                    document
                        == ConfigurationSchema.document(
                            kinds: words.first == "--kind" ? [.async] : APIKind.allCases))
            }
            let yaml = try await CortexProcess.run(["schema", "-o", "yaml"], folder: folder)
            #expect(yaml.status == 0 && yaml.output.contains("title: cortex.yaml"))
            let wrong = try await CortexProcess.run(["schema", "--kind", "Nothing"], folder: folder)
            #expect(wrong.status == 2 && wrong.errors.contains("AsyncAPI"))
        }
    }
}
