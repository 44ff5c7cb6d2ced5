import APIConfiguration
import Core
import TestSupport
import Testing

@Suite("Y2: durations and near keys")
struct SyntaxTests {
    @Test(
        "Y2: Go's duration syntax, with days",
        arguments: [
            ("60s", .seconds(60)), ("1h30m", .seconds(5400)), ("1.5h", .seconds(5400)), ("300ms", .milliseconds(300)),
            ("0", .zero), ("0s", .zero), ("-1.5s", .milliseconds(-1500)), ("+2m", .seconds(120)),
            ("7d", .seconds(604_800)), ("1d12h", .seconds(129_600)), (".5s", .milliseconds(500)), ("1.s", .seconds(1)),
            ("10us", .microseconds(10)), ("10µs", .microseconds(10)), ("10μs", .microseconds(10)),
            ("5ns", .nanoseconds(5)), ("1.000000001s", .nanoseconds(1_000_000_001)),
            ("0.3333333333333333333h", .nanoseconds(1_200_000_000_000 - 1)),
            ("1h1h", .seconds(7200)),
        ] as [(String, Duration)])
    func durations(_ text: String, _ expected: Duration) throws {
        let value = try #require(DurationSyntax.parse(text))
        // Go loses less than a microsecond to rounding in long fractions too.
        #expect(abs((value - expected).inSeconds) < 1e-6)
    }

    @Test(
        "Y2: invalid durations",
        arguments: [
            "", "s", "60", "1.5", ".s", "1 s", "1h 30m", "1w", "1y", "1H", "--1s", "1e3s", "1s2", "∞", "1\u{301}s",
            "9223372036854775807s", "106752d", "٣s", "1_0s",
        ])
    func noDurations(_ text: String) {
        #expect(DurationSyntax.parse(text) == nil)
    }

    @Test("Y2: a formatted duration is parsed to the same value")
    func roundTrip() {
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<500 {
            let duration = Duration.nanoseconds(Int64.random(in: -(1 << 60)...(1 << 60), using: &generator))
            #expect(DurationSyntax.parse(DurationSyntax.format(duration)) == duration)
        }
        #expect(DurationSyntax.format(.seconds(5400)) == "1h30m")
        #expect(DurationSyntax.format(.zero) == "0s")
    }

    @Test(
        "Y3: the key that was probably intended",
        arguments: [
            ("imge", "image"), ("images", "image"), ("cmd", nil), ("readinessProbe", "readiness_probe"),
            ("liveness-probe", "liveness_probe"), ("envs", "env"), ("nmae", "name"), ("xyz", nil), ("", nil),
            ("_", nil), ("volume", "volumes"), (String(repeating: "x", count: 100_000), nil),
        ] as [(String, String?)])
    func nearest(_ key: String, _ expected: String?) {
        let keys = ["name", "image", "env", "command", "args", "readiness_probe", "liveness_probe", "volumes"]
        #expect(NearestKey.find(key, among: keys) == expected)
    }

    @Test("Y3: for any bytes, the reader returns problems or APIs")
    func arbitrary() {
        var generator = SeededGenerator(seed: 11)
        let pieces = [
            "- ", "name: ", "iris", "\n", "  ", "kind: AsyncAPI", "pod:", "containers:", "{", "}", "[", "]", ",", ":",
            "&a ",
            "*a", "<<: ", "'", "\"", "#", "|", ">", "!!str ", "\t", "é", "\u{0}", "---", "? ", "%", "@", "`", "\\", "~",
        ]
        for _ in 0..<3000 {
            let text = (0..<Int.random(in: 0...30, using: &generator)).map { _ in
                pieces.randomElement(using: &generator) ?? ""
            }.joined()
            let result = ConfigurationFile.parse(Array(text.utf8), fileName: "c.yaml", baseDirectory: nil)
            #expect(result.apis.isEmpty != result.problems.isEmpty, "\(text.debugDescription)")
            #expect(result.problems.allSatisfy { !$0.rendered.contains("\n") && $0.line > 0 && $0.column > 0 })
        }
    }

    @Test("Y3: a good file with any byte changed is read or refused with places inside of it")
    func mutated() {
        var generator = SeededGenerator(seed: 13)
        let good = Array(
            Document.container("image: a\nenv: {A: \"1\"}\nreadiness_probe: {tcp_socket: {port: 80}}").utf8)
        for _ in 0..<1500 {
            var bytes = good
            bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            let result = ConfigurationFile.parse(bytes, fileName: "c.yaml", baseDirectory: nil)
            #expect(result.apis.isEmpty != result.problems.isEmpty)
            #expect(result.problems.allSatisfy { $0.line <= 10 })
        }
    }
}
