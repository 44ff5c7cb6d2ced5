import APIConfiguration
import Core
import Foundation
import TestSupport
import Testing

/// Compares the JSON Schema with the reader by an independent validator (Debian's python3-jsonschema).
@Suite("Y3: the JSON Schema of cortex.yaml agrees with the reader")
struct SchemaTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static let script = """
        import json, sys
        from jsonschema import Draft202012Validator
        data = json.load(sys.stdin)
        schema = data["schema"]
        Draft202012Validator.check_schema(schema)
        def walk(node, path):
            if isinstance(node, dict):
                if "default" in node and "description" in node:
                    for error in Draft202012Validator(node).iter_errors(node["default"]):
                        yield "%s: %s" % (path, error.message)
                for key, value in node.items():
                    yield from walk(value, path + "/" + key)
            elif isinstance(node, list):
                for index, value in enumerate(node):
                    yield from walk(value, "%s/%d" % (path, index))
        validator = Draft202012Validator(schema)
        found = [[error.json_path + ": " + error.message[:200] for error in validator.iter_errors(json.loads(text))]
                 for text in data["documents"]]
        json.dump({"defaults": list(walk(schema, "")), "found": found}, sys.stdout)
        """

    private struct Input: Encodable {
        var schema: JSONValue
        var documents: [String]
    }

    private struct Report: Decodable {
        /// Defaults that their own field refuses.
        var defaults: [String]
        /// The problems of each document.
        var found: [[String]]
    }

    private static func validate(
        _ documents: [String], kinds: [APIKind] = APIKind.allCases
    ) async throws -> Report {
        let input = Input(schema: ConfigurationSchema.document(kinds: kinds), documents: documents)
        let text = String(decoding: try JSONEncoder().encode(input), as: UTF8.self)
        let result = try await ChildProcess.run(
            "/usr/bin/python3", ["-c", script], environment: ["PATH": "/usr/bin:/bin"], input: text)
        try #require(result.status == 0, "is python3-jsonschema installed (scripts/setup.sh test)? \(result.errors)")
        return try JSONDecoder().decode(Report.self, from: Data(result.output.utf8))
    }

    /// Documents that the reader refuses and JSON Schema cannot express, each with its reason.
    private static let exceptions: [(reason: String, applies: @Sendable (ConfigurationProblem) -> Bool)] = [
        (
            "what YAML says is gone once the file is JSON",
            { [.duplicateKey, .invalidKey, .unsupportedTag].contains($0.kind) }
        ),
        ("two documents are no JSON", { $0.kind == .multipleDocuments }),
        (
            "JSON Schema compares no element with another",
            {
                [
                    .duplicateName, .duplicateContainerName, .duplicateEndpoint, .trafficSplitterAPIsNotUnique,
                    .apisNotDeployed, .apiNotInTrafficSplitter,
                ]
                .contains($0.kind) || ($0.kind == .duplicateValue && $0.path.contains("volumes"))
            }
        ),
        (
            "JSON Schema compares no field with another",
            {
                [
                    .minReplicasGreaterThanMax, .initReplicasGreaterThanMax, .initReplicasLessThanMin,
                    .shmCannotExceedMem, .computeResourceConflict, .targetInFlightLimitReached,
                    .incorrectTrafficSplitterWeight,
                ].contains($0.kind)
            }
        ),
        (
            "the size of a duration or a quantity in text is no matter of patterns",
            {
                $0.kind == .outOfRange && ($0.message.contains("duration") || $0.message.contains("quantity"))
                    && $0.message.contains("found \"")
            }
        ),
        (
            "the calendar and the names of time zones are no matter of patterns",
            { $0.kind == .invalidFormat && ($0.path.hasSuffix(".cron") || $0.path.hasSuffix(".time_zone")) }
        ),
        (
            "JSON knows one way to write a number: 8080.0 and 08080 are 8080",
            { problem in
                let hint = problem.hint ?? ""
                return problem.kind == .wrongType && !problem.message.hasPrefix("must be text")
                    && (hint.contains("fraction") || hint.contains("leading zero"))
            }
        ),
    ]

    private static func documents() throws -> [(title: String, text: String)] {
        let tables =
            BadFieldTests.names + BadFieldTests.pods + BadFieldTests.containers + BadFieldTests.probes
            + BadFieldTests.scaling + BadFieldTests.requests + BadFileTests.documents + OtherKindTests.good
            + OtherKindTests.bad + BadRealtimeTests.bad + BadJobTests.bad
        let good = GoodFileTests.originals + GoodFileTests.extensions + GoodFileTests.syntax
        let realtime = GoodRealtimeTests.originals + GoodRealtimeTests.extensions + GoodRealtimeTests.splitters
        let jobs = GoodJobTests.originals + GoodJobTests.extensions
        let golden = try GoldenTests.files.flatMap(GoldenTests.cases)
        return tables.map { ($0.description, $0.text) } + good.map { ($0.description, $0.text) }
            + realtime.map { ($0.description, $0.text) } + jobs.map { ($0.description, $0.text) }
            + golden.map { ($0.title, $0.document.replacing("␉", with: "\t").replacing("␍", with: "\r")) }
    }

    @Test(
        "Y3: a JSON Schema validator agrees with the reader on every document of the tables, except what JSON Schema cannot express"
    )
    func agreement() async throws {
        var texts: [String] = []
        var expected: [(title: String, problems: [ConfigurationProblem])] = []
        for document in try Self.documents() {
            let bytes = Array(document.text.utf8)
            let result = ConfigurationFile.parse(bytes, fileName: "f", baseDirectory: "/home/ada/iris")
            // An alias that refers to nothing has no value to validate.
            guard let json = ConfigurationFile.json(of: bytes), !result.problems.map(\.kind).contains(.unknownAlias)
            else { continue }
            texts.append(json)
            expected.append((document.title, result.problems))
        }
        let report = try await Self.validate(texts)
        #expect(report.defaults == [])
        var used: Set<Int> = []
        for (index, item) in expected.enumerated() {
            let plain = item.problems.filter { problem in
                guard let exception = Self.exceptions.firstIndex(where: { $0.applies(problem) }) else { return true }
                used.insert(exception)
                return false
            }
            #expect(
                report.found[index].isEmpty == plain.isEmpty,
                "\(item.title): the reader finds \(plain.map(\.rendered)), the schema \(report.found[index])")
        }
        #expect(expected.count > 300)
        let good = report.found.filter { $0.isEmpty }
        #expect(good.count > 40)
        #expect(used.count == Self.exceptions.count, "an exception that nothing needs is a hole")
    }

    @Test("Y3: the examples and the reader's own page pass the schema")
    func examples() async throws {
        let folder = Self.root.appending(path: "examples")
        // Two levels only: `make demo` installs packages with other YAML files below an example.
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).flatMap { example in
            try FileManager.default.contentsOfDirectory(atPath: folder.appending(path: example).path)
                .filter { $0.hasSuffix(".yaml") }.map { "\(example)/\($0)" }
        }
        var documents = try names.map { Array(try Data(contentsOf: folder.appending(path: $0))) }
        // The first block of YAML of the page is a whole file.
        let page = ConfigurationReference.page()
        let first = try #require(page.components(separatedBy: "```yaml\n").dropFirst().first)
        documents.append(Array(try #require(first.components(separatedBy: "```").first).utf8))
        #expect(names.count >= 10)
        for (name, bytes) in zip(names + ["the page"], documents) {
            let problems = ConfigurationFile.parse(bytes, fileName: name, baseDirectory: "/x").obstacles
            #expect(problems.rendered == "")
        }
        let texts = try documents.map { try #require(ConfigurationFile.json(of: $0)) }
        let report = try await Self.validate(texts)
        let faults = report.found.flatMap { $0 }
        #expect(faults == [])
        // The schema of one kind accepts exactly the files with no other kind.
        for kind in [APIKind.async, .task] {
            let single = try await Self.validate(texts, kinds: [kind])
            for (text, faults) in zip(texts, single.found) {
                let others = APIKind.allCases.filter { $0 != kind && text.contains($0.rawValue) }
                #expect(faults.isEmpty == others.isEmpty, "\(kind): \(text)")
            }
        }
    }
}

@Suite("Y3: the reference page")
struct ReferenceTests {
    private static let page = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "docs/configuration.md")

    @Test("Y3: docs/configuration.md agrees with the table (CORTEX_RECORD=1 rewrites it)")
    func committed() throws {
        let text = ConfigurationReference.page()
        if GoldenTests.isRecording {
            try text.write(to: Self.page, atomically: true, encoding: .utf8)
            return
        }
        #expect(try String(contentsOf: Self.page, encoding: .utf8) == text)
    }

    @Test("Y3: every field of every kind is on the page", arguments: APIKind.allCases)
    func complete(_ kind: APIKind) {
        for served in [APIKind.served, Document.kinds] { check(kind, on: ConfigurationReference.page(served: served)) }
    }

    private func check(_ kind: APIKind, on page: String) {
        func check(_ object: SchemaObject) {
            for field in object.fields {
                let isThere = page.contains("`\(field.key)`") || page.contains(".\(field.key)`")
                #expect(isThere, "\(field.key)")
                switch field.type {
                case .object(let child), .list(of: .object(let child), _, _): check(child)
                default: break
                }
            }
        }
        check(APISchema.root(of: kind))
    }
}
