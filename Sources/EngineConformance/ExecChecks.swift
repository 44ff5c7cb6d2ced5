import Core
import Foundation
import TestSupport
import Testing

extension EngineCheck {
    static let exec: [EngineCheck] = [
        EngineCheck(
            "C14: a command runs in the container, with its environment and files, and its exit code is returned"
        ) { fixture in
            var container = fixture.shell("side", "touch /tmp/mine; exec sleep 1000")
            container.environment = [EnvironmentVariable("GREETING", "hello there")]
            try await fixture.withPod([container]) { (plan) async throws in
                #expect(
                    try await eventually {
                        try await run(fixture, plan, "test -e /tmp/mine").exitCode == 0
                    })
                let result = try await run(fixture, plan, "echo \"$GREETING\"; sleep 0.2; echo oops >&2; exit 4")
                #expect(result == ExecResult(exitCode: 4, output: "hello there\noops\n"))
                let main = "import os; print(os.getuid(), os.getgid(), os.getcwd())"
                let inside = try await run(
                    fixture, plan,
                    "python3 -c '\(main)'; for id in self 1; do readlink /proc/$id/ns/pid; done | uniq | wc -l")
                let lines = inside.output.split(separator: "\n")
                #expect(lines.last?.trimmingCharacters(in: .whitespaces) == "1")
                let capabilities = try await run(
                    fixture, plan, "grep -E 'Cap(Eff|Prm|Bnd)|NoNewPrivs' /proc/self/status | cut -f2 | sort -u")
                #expect(capabilities.output == "0000000000000000\n1\n")
                let killed = try await run(fixture, plan, "kill -9 $$")
                #expect(killed.exitCode == 137)
            }
        },
        EngineCheck("C14: a command's output is cut at the limit, and the command still ends") { fixture in
            try await fixture.withPod([fixture.shell("side", "exec sleep 1000")]) { (plan) async throws in
                let result = try await run(fixture, plan, "python3 -c 'print(\"x\" * 1000000)'; exit 2")
                #expect(result.exitCode == 2)
                #expect(result.output == String(repeating: "x", count: Limits.failureBody))
            }
        },
        EngineCheck("C14: a command that takes too long is killed") { fixture in
            try await fixture.withPod([fixture.shell("side", "exec sleep 1000")]) { (plan) async throws in
                let error = await #expect(throws: PlatformError.self) {
                    _ = try await fixture.engine.exec(
                        ["sh", "-c", "echo $$ > /mnt/pid; sleep 1000"], container: "side", pod: plan.id,
                        timeout: .milliseconds(500))
                }
                #expect(error?.code == .timedOut)
                #expect(
                    try await eventually {
                        // It may have been killed before it wrote.
                        let gone = "test ! -s /mnt/pid || test ! -d /proc/$(cat /mnt/pid)"
                        return try await run(fixture, plan, gone).exitCode == 0
                    })
            }
        },
        EngineCheck("C14: a command that cannot be run, or a missing container, is an error") { fixture in
            try await fixture.withPod([fixture.shell("side", "exec sleep 1000")]) { (plan) async throws in
                await #expect(throws: PlatformError.self) {
                    _ = try await fixture.engine.exec(
                        ["no-such-command-anywhere"], container: "side", pod: plan.id, timeout: .seconds(20))
                }
                await #expect(throws: PlatformError.self) {
                    _ = try await fixture.engine.exec(
                        ["true"], container: "stranger", pod: plan.id, timeout: .seconds(20))
                }
            }
        },
    ]

    static let logs: [EngineCheck] = [
        EngineCheck("O4: logs have lines of both streams, the last lines, and those before a restart") { fixture in
            // Apart in time: what comes through two pipes at once has no order.
            let script = "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three"
            try await fixture.withPod([fixture.shell("side", script)]) { (plan) async throws in
                #expect(try await eventually { try await fixture.exit(of: "side", in: plan.id) != nil })
                let all = ["one", "two", "three"]
                #expect(try await eventually { try await lines(of: "side", in: plan.id, fixture.engine).count == 3 })
                #expect(try await lines(of: "side", in: plan.id, fixture.engine) == all)
                #expect(try await lines(of: "side", in: plan.id, fixture.engine, tail: 2) == ["two", "three"])
                #expect(try await lines(of: "side", in: plan.id, fixture.engine, tail: 0) == [])
                try await fixture.engine.restart(container: "side", of: plan)
                #expect(try await eventually { try await lines(of: "side", in: plan.id, fixture.engine) == all + all })
            }
        },
        EngineCheck("O4: the last output is a line although its end is missing") { fixture in
            try await fixture.withPod([fixture.shell("side", "echo one; printf two")]) { (plan) async throws in
                #expect(try await eventually { try await fixture.exit(of: "side", in: plan.id) != nil })
                #expect(
                    try await eventually {
                        try await lines(of: "side", in: plan.id, fixture.engine) == ["one", "two"]
                    })
                #expect(try await lines(of: "side", in: plan.id, fixture.engine, tail: 1) == ["two"])
            }
        },
        EngineCheck("O4: following returns lines at once, continues over a restart, and ends with the pod") { fixture in
            let script = "echo started; while [ ! -e /mnt/go ]; do sleep 0.05; done; rm /mnt/go; echo ended"
            try await fixture.withPod([fixture.agent(), fixture.shell("side", script)]) { (plan) async throws in
                let stream = try await fixture.engine.logs(container: "side", pod: plan.id, follow: true, tail: nil)
                    .lines
                var seen: [String] = []
                for try await line in stream {
                    seen.append(line)
                    if line == "started" {
                        let go = "result = open('/mnt/go', 'w').write('1')"
                        #expect(try await Agent.run(go, in: plan.id, of: fixture.engine) == 1)
                    } else if seen.count == 2 {
                        #expect(try await eventually { try await fixture.exit(of: "side", in: plan.id)?.code == 0 })
                        try await fixture.engine.restart(container: "side", of: plan)
                    } else {
                        try await fixture.engine.stop(pod: plan.id, grace: .zero)
                    }
                }
                #expect(seen == ["started", "ended", "started", "ended"])
            }
        },
        EngineCheck("O4: a line that is too long is split, bytes that are not text become U+FFFD") { fixture in
            let source = "import sys; sys.stdout.buffer.write(b'x' * 40000 + b'\\n\\xff\\n'); sys.stdout.flush()"
            try await fixture.withPod([fixture.container("side", ["python3", "-c", source])]) { (plan) async throws in
                #expect(try await eventually { try await fixture.exit(of: "side", in: plan.id) != nil })
                #expect(
                    try await eventually { try await lines(of: "side", in: plan.id, fixture.engine).last == "\u{FFFD}" }
                )
                let pieces = try await lines(of: "side", in: plan.id, fixture.engine).dropLast()
                #expect(pieces.joined() == String(repeating: "x", count: 40000))
                #expect(pieces.allSatisfy { $0.utf8.count <= Limits.logLine })
            }
        },
        EngineCheck("O4: logs of a missing container are an error") { fixture in
            try await fixture.withPod([fixture.shell("side", "exec sleep 1000")]) { (plan) async throws in
                let error = await #expect(throws: PlatformError.self) {
                    _ = try await lines(of: "stranger", in: plan.id, fixture.engine)
                }
                #expect(error?.code == .notFound)
            }
        },
    ]

    private static func run(_ fixture: EngineFixture, _ plan: PodPlan, _ script: String) async throws -> ExecResult {
        try await fixture.engine.exec(
            ["sh", "-c", script], container: "side", pod: plan.id, timeout: .seconds(20))
    }
}
