import ArgumentParser
import Client
import Core
import TestSupport
import Testing

@testable import Commands

@Suite("O2: decisions of the CLI")
struct DecisionTests {
    private let start = Instant(seconds: 1000)

    // MARK: Exit status

    @Test("O2: usage errors exit 2, reported errors 1, a closed pipe and Ctrl-C as in a shell")
    func exitStatus() {
        #expect(ExitStatus(PlatformError(.usage, "u")).code == 2)
        #expect(ExitStatus(PlatformError(.notFound, "n")).code == 1)
        #expect(ExitStatus(PlatformError(.notFound, "n")).message == "error: n")
        #expect(ExitStatus(BrokenPipe()).code == 141)
        #expect(ExitStatus(BrokenPipe()).message == nil)
        #expect(ExitStatus(CancellationError()).code == 130)
        #expect(ExitStatus(ExitCode(1)).code == 1)
        #expect(ExitStatus(ValidationError("v")).code == 2)
        #expect(ExitStatus(CleanExit.helpRequest()).code == 0)
        #expect(ExitStatus(CleanExit.helpRequest()).channel == .output)
    }

    // MARK: Words

    @Test(
        "O2: command names may be shortened to what only one begins with",
        arguments: [
            (["desc", "x"], ["describe", "x"]), (["env", "conf", "x"], ["env", "configure", "x"]),
            (["res", "res"], ["result", "res"]), (["-h"], ["-h"]), ([], []), (["get", "des"], ["get", "des"]),
            (["help", "sub"], ["help", "submit"]), (["e", "li"], ["env", "list"]),
            (["results", "x"], ["results", "x"]), (["sched", "susp", "x"], ["schedule", "suspend", "x"]),
        ])
    func abbreviation(words: [String], expanded: [String]) throws {
        #expect(try CommandAbbreviation.expand(words, root: CortexCommand.self) == expanded)
    }

    @Test(
        "O2: a name that none or several have says so",
        arguments: [("nosuch", "no command"), ("depoly", "did you mean deploy?"), ("de", "delete, deploy, describe")])
    func noCommand(word: String, text: String) {
        let error = #expect(throws: PlatformError.self) {
            try CommandAbbreviation.expand([word], root: CortexCommand.self)
        }
        #expect(error?.code == .usage)
        #expect(error?.message.contains(text) == true)
    }

    @Test(
        "O3: --wait stands anywhere and takes no value; --wait-timeout waits too, with a limit",
        arguments: [
            (["submit", "x", "--wait"], true, nil), (["submit", "--wait", "x"], true, nil),
            (["submit", "x", "--wait-timeout", "30"], true, 30), (["submit", "x"], false, nil),
            (["submit", "--wait", "--wait-timeout=0", "x"], true, 0),
        ] as [([String], Bool, Int?)])
    func wait(words: [String], isWaiting: Bool, seconds: Int?) async throws {
        let command = try #require(try await CortexCommand.asyncParseAsRoot(words) as? SubmitCommand)
        #expect(command.target.api == "x" && command.waiting.isWaiting == isWaiting)
        #expect(command.waiting.limit == seconds.map { .seconds($0) })
    }

    @Test(
        "O2: wrong arguments are refused before anything is done",
        arguments: [
            ["get", "a", "b", "c"], ["describe"], ["get", "--nope"], ["get", "-o", "xml"], ["get", "-w", "-o", "json"],
            ["describe", "a", "-w", "-o", "yaml"], ["logs", "a", "--tail", "-1"], ["logs", "a", "--tail", "x"],
            ["logs", "a", "--random-pod", "--replica", "r"], ["result", "a", "no-id"], ["result", "a"],
            ["requests", "a", "--status", "lost"], ["requests", "a", "--limit", "0"], ["submit"],
            ["submit", "a", "-H", "no colon"], ["submit", "a", "-H", "Host: x"], ["submit", "a", "-H", "a b: c"],
            ["submit", "a", "--wait=-1"], ["submit", "a", "--wait-timeout=10m"], ["result", "a", "--wait", "x"],
            ["submit", "a", "--wait-timeout=-1"], ["submit", "a", "--wait", "30"], ["submit", "--wait-timeout", "a"],
            ["env", "configure", "a b"], ["env", "rename", "a"], ["env", "delete"],
            ["deploy", "--timeout", "0"], ["delete"], ["cancel", "a", "x"], ["retry", "a"],
        ])
    func wrongArguments(words: [String]) async {
        let error = await #expect(throws: (any Error).self) { try await CortexCommand.asyncParseAsRoot(words) }
        #expect(error.map { ExitStatus($0).code } == 2)
    }

    @Test(
        "O2: the flags of the original are understood",
        arguments: [
            ["deploy", "f.yaml", "--env", "e", "-o", "json", "--yes", "--force"], ["deploy", "-e", "e", "-f", "-y"],
            ["get"], ["get", "a", "--env", "e", "-o", "json"], ["get", "-w"], ["get", "a", "-v"],
            ["describe", "a", "-e", "e", "-w"], ["logs", "a", "-e", "e", "-y", "--random-pod"],
            ["refresh", "a", "--env", "e", "-o", "json", "--force"],
            ["delete", "a", "--env", "e", "--force", "-o", "json", "--keep-cache"], ["delete", "a", "-c", "-f"],
            ["env", "configure", "e", "--operator-endpoint", "https://x"], ["env", "list", "--output", "json"],
            ["env", "default", "e"], ["env", "rename", "a", "b"], ["version", "-e", "e"], ["completion", "bash"],
            ["up", "--data-dir", "/d", "--host", "h", "--port", "0", "--operator-port", "0", "--engine", "sandbox"],
        ])
    func originalFlags(words: [String]) async throws {
        _ = try await CortexCommand.asyncParseAsRoot(words)
    }

    // MARK: Payload

    @Test(
        "O3: the content type is guessed from the file's name",
        arguments: [
            ("a.png", "image/png"), ("/x.d/A.JPG", "image/jpeg"), ("a.json", "application/json"),
            ("/x.png/noext", "application/octet-stream"), ("a.bin", "application/octet-stream"),
        ])
    func contentType(path: String, type: String) {
        #expect(PayloadInput.contentType(ofFile: path) == type)
    }

    @Test(
        "O3: a text is JSON if it is",
        arguments: [("{\"a\":1}", "application/json"), ("1", "application/json"), ("hi", "text/plain; charset=utf-8")])
    func inlineType(text: String, type: String) throws {
        #expect(try PayloadInput(text, console: Console(environment: [:])).contentType == type)
    }

    // MARK: deploy --wait

    @Test("O3: ready when every wanted replica is of the new version")
    func ready() {
        var progress = DeployProgress()
        let old = Fixtures.api("a", replicas: [Fixtures.replica("1", .readyOutOfDate)])
        #expect(progress.look(at: old, now: start) == .waiting("a: 0/1 ready, ready_out_of_date"))
        let new = Fixtures.api("a", replicas: [Fixtures.replica("1", .ready)])
        #expect(progress.look(at: new, now: start) == .ready)
        #expect(progress.look(at: Fixtures.api("a", requested: 0), now: start) == .ready)
    }

    @Test("O3: the line says what is waited for")
    func waitingLine() {
        var progress = DeployProgress()
        let api = Fixtures.api("a", replicas: [Fixtures.replica("1", .creating, reason: "pulling image: 40%")])
        #expect(progress.look(at: api, now: start) == .waiting("a: 0/1 ready, creating (pulling image: 40%)"))
    }

    @Test("O3: a failure counts when it lasts or comes back, not at the first look")
    func failing() {
        var progress = DeployProgress()
        let api = Fixtures.api("a", replicas: [Fixtures.replica("a-1", .errImagePull, reason: "no such image")])
        guard case .waiting = progress.look(at: api, now: start) else { return #expect(Bool(false)) }
        let fine = Fixtures.api("a", replicas: [Fixtures.replica("a-1", .creating)])
        guard case .waiting = progress.look(at: fine, now: start + .seconds(15)) else {
            return #expect(Bool(false))
        }
        guard case .waiting = progress.look(at: api, now: start + .seconds(30)) else {
            return #expect(Bool(false))
        }
        #expect(
            progress.look(at: api, now: start + .seconds(50))
                == .failed(
                    "a does not get ready: replica a-1 is ErrImagePull: no such image; see why with: cortex logs a"))
        var other = DeployProgress()
        let crashing = Fixtures.api("a", replicas: [Fixtures.replica("a-1", .failed, restarts: 3)])
        guard case .failed = other.look(at: crashing, now: start) else { return #expect(Bool(false)) }
    }
}
