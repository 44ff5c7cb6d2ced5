import Core
import Foundation
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

/// The built program is killed repeatedly at random moments on one data directory, so that each start recovers what the
/// previous one recovered.
@Suite("Fifty kills of the platform", .serialized, .timeLimit(.minutes(20)))
struct KillTests {
    static let rounds = 50

    @Test(
        "A1, A2, A6, A7, A10: kill -9 at fifty random moments under mixed load: every acknowledged id is known at once and ends with its container's answer"
    )
    func fiftyDeaths() async throws {
        try await withTemporaryDirectory { folder async throws in
            let callers = Callers()
            var platform = try await Platform.start(.sandbox, in: folder)
            try await platform.deploy("echo", pod: "max_concurrency: 8")
            for round in 0..<Self.rounds {
                let api = TestAPI(platform: platform, name: "echo")
                let moment = Duration.milliseconds(Int.random(in: 20...500))
                await withTaskGroup(of: Void.self) { group in
                    for worker in 0..<4 { group.addTask { await callers.work(api, round: round, worker: worker) } }
                    // The random moment is the purpose of the test, so there is no event to wait for.
                    try? await Task.sleep(for: moment)
                    await platform.kill()
                }
                platform = try await Platform.start(.sandbox, in: folder)
                let again = TestAPI(platform: platform, name: "echo")
                for (id, call) in callers.of(round) {
                    let answer = try await again.read(id)
                    #expect(answer.status == 200, "round \(round), \(moment): \(call) is \(answer.text)")
                    if let key = call.key {
                        #expect(try await again.submit(call.body, do: call.action, headers: [key]) == id)
                    }
                }
            }
            let api = TestAPI(platform: platform, name: "echo")
            let calls = callers.all
            #expect(calls.count > Self.rounds)
            // Every kind of call was made.
            for kind in Call.Kind.allCases { #expect(calls.contains { $0.value.kind == kind }, "\(kind)") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for slice in 0..<8 {
                    group.addTask {
                        for (index, (id, call)) in calls.enumerated() where index % 8 == slice {
                            let answer = try await api.ended(id)
                            let problem = call.problem(answer)
                            #expect(problem == nil, "\(id): \(call)")
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await platform.stop() == 0)
        }
    }
}

/// A caller's request and the answers it got.
struct Call: Sendable, CustomStringConvertible {
    enum Kind: CaseIterable { case small, inFiles, failing, keyed, cancelled }

    var kind: Kind
    var body: String
    /// The answer to a cancellation; `nil` if there was none.
    var cancelStatus: Int?
    var keyName: String?

    var action: String { kind == .failing ? "answer" : "verbatim" }
    var key: (String, String)? { keyName.map { ("Idempotency-Key", $0) } }
    var description: String { "\(kind) \(body.prefix(40)), cancel \(cancelStatus.map(String.init) ?? "–")" }

    init(round: Int, worker: Int, number: Int) {
        let name = "\(round), \(worker), \(number)"
        switch number % 10 {
        case 1, 6: kind = .inFiles
        case 2: kind = .failing
        case 3, 7: kind = .keyed
        case 4, 8: kind = .cancelled
        default: kind = .small
        }
        // Larger than a row allows, as a payload and as a result: in a segment, or in its own file.
        let filler = kind == .inFiles ? String(repeating: "f", count: number % 10 == 1 ? 70_000 : 270_000) : ""
        body = kind == .failing ? #"{"status":503,"body":"[\#(name)]"}"# : "[\(name), \"\(filler)\"]"
        if kind == .keyed { keyName = "key \(round)-\(worker)-\(number)" }
    }

    /// The difference between the request's end and the expected one.
    func problem(_ answer: HTTP.Answer) -> String? {
        let document = answer.json
        let status = document?["status"].string ?? "\(answer.status)"
        switch status {
        case "completed":
            let isRight = kind != .failing && cancelStatus != 200 && answer.text.contains("\"result\":\(body)")
            return isRight ? nil : "completed with \(answer.text.prefix(200))"
        case "failed":
            let error = document?["error"]
            let isRight =
                kind == .failing && error?["kind"].string == "container_status"
                && error?["body"].string.map { body.contains($0) } == true
            return isRight ? nil : "failed with \(answer.text.prefix(300))"
        case "cancelled": return kind == .cancelled && cancelStatus != 409 ? nil : "cancelled, which was not requested"
        default: return "is \(status)"
        }
    }
}

/// Callers that record their answers.
final class Callers: Sendable {
    /// A call during which the platform is killed ends at once, or sometimes never: the client may not detect that its
    /// connection is closed.
    private static let answerTime: Duration = .seconds(10)

    private let calls = Mutex<[String: (round: Int, call: Call)]>([:])

    var all: [String: Call] { calls.withLock { $0.mapValues(\.call) } }

    func of(_ round: Int) -> [String: Call] {
        calls.withLock { $0.filter { $0.value.round == round }.mapValues(\.call) }
    }

    /// Calls until the platform has ended.
    func work(_ api: TestAPI, round: Int, worker: Int) async {
        for number in 0..<20 {
            var call = Call(round: round, worker: worker, number: number + round)
            let key = call.key.map { [$0] } ?? []
            guard
                let id = try? await api.submit(
                    call.body, do: call.action, headers: key, within: Self.answerTime)
            else { return }
            calls.withLock { $0[id] = (round, call) }
            guard call.kind == .cancelled else { continue }
            guard let answer = try? await HTTP.call(.DELETE, "\(api.url)/\(id)", within: Self.answerTime) else {
                return
            }
            call.cancelStatus = answer.status
            calls.withLock { [call] in $0[id] = (round, call) }
        }
    }
}
