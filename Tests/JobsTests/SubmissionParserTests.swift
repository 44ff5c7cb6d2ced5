import Core
import Foundation
import Testing

@testable import Jobs

@Suite("Submissions")
struct SubmissionParserTests {
    private func parse(_ text: String, _ api: DeployedAPI = JobPlan.batchAPI()) throws -> SubmissionParser.Parsed {
        try SubmissionParser.parse(Array(text.utf8), for: api.specification.kind.name)
    }

    private func problem(_ text: String, _ api: DeployedAPI = JobPlan.batchAPI()) -> PlatformError? {
        do {
            _ = try parse(text, api)
            return nil
        } catch {
            return error as? PlatformError
        }
    }

    @Test("B1, B3: items keep their bytes; null is no member; unknown members are named")
    func items() throws {
        let text =
            #"{"workers": 2, "timeout": null, "config": {"k" : 1.0}, "wokers": 3, "item_list": {"items": [ 1.0 , {"a": "\u00e9,]"}, [1, [2]], "x", null ], "batch_size": 2, "size": 1}}"#
        let parsed = try parse(text)
        let bytes = Array(text.utf8)
        #expect(
            parsed.items.map { String(decoding: bytes[$0], as: UTF8.self) }
                == ["1.0", #"{"a": "\u00e9,]"}"#, "[1, [2]]", #""x""#, "null"])
        #expect(parsed.submission.workers == 2)
        #expect(parsed.submission.timeout == nil)
        #expect(parsed.submission.config == Array(#"{"k" : 1.0}"#.utf8))
        #expect(parsed.submission.ignoredFields == ["wokers", "item_list.size"])
        #expect(parsed.submission.work == .batch(.init(batchSize: 2)))
    }

    @Test("J1: every problem of a submission is reported at once, with its path")
    func allProblems() {
        let error = problem(
            #"{"workers": 0, "timeout": 1.5, "config": [], "max_failed_batches": -1, "item_list": {"items": []}}"#)
        #expect(error?.code == .badRequest)
        let parts = error?.message.components(separatedBy: "; ") ?? []
        for path in [
            "workers:", "timeout:", "config:", "max_failed_batches:", "item_list.batch_size:", "item_list.items:",
        ] {
            #expect(parts.contains { $0.hasPrefix(path) }, "\(path)")
        }
    }

    @Test(
        "J10: the longest timeout is accepted, and a longer one is refused with the limit",
        arguments: [APIKind.batch, .task])
    func longestTimeout(kind: APIKind) throws {
        let rest = kind == .batch ? #", "item_list": {"items": [1], "batch_size": 1}"# : ""
        let longest = #"{"workers": 1, "timeout": 9223372036\#(rest)}"#
        let parsed = try SubmissionParser.parse(Array(longest.utf8), for: kind)
        #expect(parsed.submission.timeout == .seconds(9_223_372_036))
        for (text, found) in [("9223372037", "9223372037"), ("0", "0"), ("1e9", "1e9")] {
            let bytes = Array(longest.replacing("9223372036", with: text).utf8)
            #expect(
                SubmissionParser.problems(in: bytes, for: kind).map { "\($0.path): \($0.message)" } == [
                    "timeout: must be an integer from 1 to 9223372036, found \(found)"
                ])
        }
    }

    @Test(
        "B1: exactly one input",
        arguments: [
            (#"{"workers": 1}"#, "specify_exactly_one_key"),
            (#"{"workers": 1, "item_list": null}"#, "specify_exactly_one_key"),
            (
                #"{"workers": 1, "item_list": {"items": [1], "batch_size": 1}, "delimited_files": {"s3_paths": ["s3://b/k"], "batch_size": 1}}"#,
                "conflicting_fields"
            ),
            (
                #"{"workers": 1, "sqs_dead_letter_queue": {"arn": "x"}, "item_list": {"items": [1], "batch_size": 1}}"#,
                "not_supported"
            ), ("[1]", "bad_request"), ("{", "bad_request"), ("7", "bad_request"),
            (#"{"workers": 1, "file_path_lister": {"s3_paths": [], "batch_size": 1}}"#, "bad_request"),
            (#"{"workers": 1, "file_path_lister": {"s3_paths": [3], "batch_size": 1}}"#, "bad_request"),
            (#"{"workers": "1", "item_list": {"items": [1], "batch_size": 1}}"#, "bad_request"),
            (#"{"workers": 1, "item_list": {"items": {}, "batch_size": 1}}"#, "bad_request"),
            (#"{"workers": 1, "item_list": [1]}"#, "bad_request"),
        ])
    func refused(text: String, code: String) {
        #expect(problem(text)?.code.kind == code)
    }

    @Test("B1: of two members with the same name the last one counts")
    func repeated() throws {
        let parsed = try parse(#"{"workers": 9, "workers": 1, "item_list": {"items": [1], "batch_size": 1}}"#)
        #expect(parsed.submission.workers == 1)
    }

    @Test("B4: files as input")
    func files() throws {
        let parsed = try parse(
            #"{"workers": 1, "delimited_files": {"s3_paths": ["s3://b/k"], "includes": ["**.json"], "excludes": null, "batch_size": 5}}"#
        )
        let input = JobSubmission.FileInput(use: .contents, paths: ["s3://b/k"], includes: ["**.json"])
        #expect(parsed.submission.work == .batch(.init(batchSize: 5, files: input)))
        #expect(parsed.items.isEmpty)
    }

    @Test("T1: an empty object is a submission; args, env and retries replace those of the API")
    func task() throws {
        #expect(try parse("{}", JobPlan.taskAPI()).submission.workers == 1)
        let parsed = try parse(
            #"{"workers": 3, "args": ["a", ""], "env": {"A": "1"}, "retries": {"max_attempts": 4, "on": ["exit"], "x": 1}}"#,
            JobPlan.taskAPI())
        guard case .task(let work) = parsed.submission.work else {
            Issue.record("no task")
            return
        }
        #expect(work.args == ["a", ""])
        #expect(work.env == ["A": "1"])
        #expect(parsed.submission.ignoredFields == ["retries.x"])
        let policy = TaskRetries.policy(TaskRetryPolicy(backoff: .seconds(9)), replacedBy: work.retries)
        #expect(policy == TaskRetryPolicy(maxAttempts: 4, on: [.exit], backoff: .seconds(9)))
    }

    @Test(
        "T1: what a task can't have is refused with its path",
        arguments: [
            (#"{"workers": 1001}"#, "workers:"), (#"{"env": {"CORTEX_X": "1"}}"#, "env.CORTEX_X:"),
            (#"{"env": {"KUBEXIT_X": "1"}}"#, "env.KUBEXIT_X:"), (#"{"env": {"A": 1}}"#, "env.A:"),
            (#"{"env": {"A=B": "1"}}"#, "env.A=B:"), (#"{"env": []}"#, "env:"),
            (#"{"args": ["a\u0000b"]}"#, "args[0]:"),
            (#"{"args": ["\#(String(repeating: "x", count: 600_000))"]}"#, "args and env:"),
            (#"{"args": ["a", 1]}"#, "args[1]:"),
            (#"{"retries": {"max_attempts": 0}}"#, "retries.max_attempts:"),
            (#"{"retries": {"on": ["never"]}}"#, "retries.on:"),
            (#"{"retries": {"no_retry_exit_codes": [256]}}"#, "retries.no_retry_exit_codes:"),
            (#"{"retries": {"on_lost": "x"}}"#, "retries.on_lost:"),
            (#"{"retries": {"backoff": "6m"}}"#, "retries.backoff:"),
        ])
    func refusedTask(text: String, path: String) {
        let error = problem(text, JobPlan.taskAPI())
        #expect(error?.code == .badRequest)
        #expect(error?.message.hasPrefix(path) == true)
    }
}

@Suite("JSON Lines and JSON values in files")
struct ItemStreamTests {
    /// Every way to cut `bytes` into two pieces.
    private func cuts(_ bytes: [UInt8]) -> [[[UInt8]]] {
        (0...bytes.count).map { [Array(bytes[..<$0]), Array(bytes[$0...])] } + [bytes.map { [$0] }]
    }

    @Test("B2: lines are the same items wherever the stream is cut; blank lines and white space around are no part")
    func lines() async throws {
        let text = " {\"a\": 1}\r\n\n\t\n[1,\t2]  \n\"é\\n\"\n3"
        for pieces in cuts(Array(text.utf8)) {
            var lines = JSONLines()
            var items: [String] = []
            for piece in pieces { try await lines.consume(piece) { items.append(String(decoding: $0, as: UTF8.self)) } }
            try await lines.finish { items.append(String(decoding: $0, as: UTF8.self)) }
            #expect(items == [#"{"a": 1}"#, "[1,\t2]", #""é\n""#, "3"])
        }
    }

    @Test(
        "B2: a line that is not one JSON text is refused with its number",
        arguments: [("1\n2\n{\n4\n", 3), ("1\n2 3\n", 2), ("nul", 1), ("1\n\n\n\"a", 4), ("\u{FEFF}1\n", 1)])
    func badLine(text: String, number: Int) async {
        for pieces in cuts(Array(text.utf8)) {
            let error = await #expect(throws: PlatformError.self) {
                var lines = JSONLines()
                for piece in pieces { try await lines.consume(piece) { _ in } }
                try await lines.finish { _ in }
            }
            #expect(error?.message.hasPrefix("line \(number) ") == true)
        }
    }

    @Test("B2: a line of more than 16 MiB is refused, also when it arrives in small pieces")
    func longLine() async throws {
        var lines = JSONLines()
        let piece = [UInt8](repeating: UInt8(ascii: " "), count: 1 << 20)
        for _ in 0..<16 { try await lines.consume(piece) { _ in } }
        await #expect(throws: PlatformError.self) {
            var lines = lines
            try await lines.consume([UInt8(ascii: "1")]) { _ in }
        }
    }

    @Test("B4: values of a file are items wherever it is cut, with any white space between them, or none")
    func values() async throws {
        let text = "{\"a\":\"}\\\"\"}[1,{\"b\":[]}]\n\n 12 true\"x\"\"y\" -1.5e3\t{}null"
        let expected = ["{\"a\":\"}\\\"\"}", "[1,{\"b\":[]}]", "12", "true", "\"x\"", "\"y\"", "-1.5e3", "{}", "null"]
        let bytes = Array(text.utf8)
        for pieces in cuts(bytes) {
            var values = JSONSequence(at: 0)
            var found: [String] = []
            var ends: [Int64] = []
            func take(_ value: [UInt8], _ end: Int64) {
                found.append(String(decoding: value, as: UTF8.self))
                ends.append(end)
            }
            for piece in pieces { try await values.consume(piece) { take($0, $1) } }
            try await values.finish { take($0, $1) }
            #expect(found == expected)
            // A read that begins behind a value finds the next ones.
            for (index, end) in ends.enumerated() {
                var rest = JSONSequence(at: end)
                var later: [String] = []
                try await rest.consume(Array(bytes[Int(end)...])) { value, _ in
                    later.append(String(decoding: value, as: UTF8.self))
                }
                try await rest.finish { value, _ in later.append(String(decoding: value, as: UTF8.self)) }
                #expect(later == Array(expected[(index + 1)...]))
            }
        }
    }

    @Test(
        "B4: what is no JSON is reported with its byte",
        arguments: [("{} {]", 4), ("1 2 x", 4), ("[1,]", 3), ("\"a", 2), ("{\"a\":1", 6)])
    func badValue(text: String, offset: Int64) async {
        for pieces in cuts(Array(text.utf8)) {
            let problem = await #expect(throws: JSONSequence.Problem.self) {
                var values = JSONSequence(at: 0)
                for piece in pieces { try await values.consume(piece) { _, _ in } }
                try await values.finish { _, _ in }
            }
            #expect(problem?.offset == offset)
        }
    }
}

@Suite("Globs")
struct GlobTests {
    @Test(
        "B4: globs over URLs",
        arguments: [
            ("s3://b/*.json", "s3://b/a.json", true), ("s3://b/*.json", "s3://b/c/a.json", false),
            ("**.json", "s3://b/c/a.json", true), ("s3://b/**/a", "s3://b/x/y/a", true),
            ("s3://b/?.txt", "s3://b/a.txt", true), ("s3://b/?.txt", "s3://b//.txt", false),
            ("s3://b/[abc]", "s3://b/b", true), ("s3://b/[!abc]", "s3://b/b", false),
            ("s3://b/[!abc]", "s3://b/d", true),
            ("s3://b/[a-c]x", "s3://b/bx", true), ("s3://b/[a-c]x", "s3://b/dx", false),
            ("**.{json,csv}", "s3://b/x.csv", true), ("**.{json,csv}", "s3://b/x.txt", false),
            ("**/{a,b{c,d}}", "s3://x/bd", true), (#"s3://b/\*"#, "s3://b/*", true), (#"s3://b/\*"#, "s3://b/a", false),
            ("", "", true), ("", "a", false), ("*", "", true), ("s3://b/é", "s3://b/é", true),
            ("**", "anything/at/all", true), ("a**b", "a/x/b", true), ("[]]", "]", true),
        ])
    func matches(pattern: String, text: String, expected: Bool) throws {
        #expect(try Glob(pattern).matches(text) == expected)
    }

    @Test("B4: what is no glob is refused", arguments: ["[a", "{a,b", #"a\"#, "[z-a]", "{{{{{{{{{a}}}}}}}}}"])
    func refused(pattern: String) {
        #expect(throws: Glob.Problem.self) { try Glob(pattern) }
    }

    @Test("B4: a glob with many stars takes no long time")
    func stars() throws {
        let glob = try Glob(String(repeating: "*a", count: 500) + "b")
        #expect(!glob.matches(String(repeating: "a", count: 2000)))
    }
}
