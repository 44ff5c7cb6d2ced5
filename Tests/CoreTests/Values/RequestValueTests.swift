import Core
import Foundation
import TestSupport
import Testing

@Suite("A1, A2: request ids and statuses")
struct RequestValueTests {
    @Test("A1: ids are UUIDs of version 7 whose text reads back")
    func version() throws {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<200 {
            let now = Timestamp(microseconds: Int64.random(in: 0...(1 << 55), using: &generator))
            let id = RequestID(now: now, using: &generator)
            let text = Array(id.description)
            #expect(text.count == 36 && text[14] == "7" && "89ab".contains(text[19]))
            #expect(RequestID(id.description) == id)
            #expect(RequestID(id.description.uppercased()) == id)
            #expect(UUID(uuidString: id.description)?.uuidString.lowercased() == id.description)
            #expect(RequestID(bytes: id.bytes) == id)
        }
    }

    @Test("A1: ids sort by time, to the microsecond, as values and as text")
    func order() {
        var generator = SeededGenerator(seed: 4)
        var previous = RequestID(now: Timestamp(microseconds: 1_800_000_000_000_000), using: &generator)
        for step in 1...2000 {
            let now = Timestamp(microseconds: 1_800_000_000_000_000 + Int64(step))
            let id = RequestID(now: now, using: &generator)
            #expect(previous < id && previous.description < id.description)
            previous = id
        }
    }

    @Test(
        "A4: what is no id",
        arguments: [
            "", "healthz", "0190f5c0-0000-7000-8000-00000000000", "0190f5c0-0000-7000-8000-0000000000000",
            "0190f5c00000700080000000000000000000", "0190f5c0-0000-7000-8000-00000000000g",
            "{0190f5c0-0000-7000-8000-000000000000}", "0190f5c0-0000-7000-8000-00000000000é",
            "-190f5c0-0000-7000-8000-000000000000",
        ])
    func noIDs(_ text: String) {
        #expect(RequestID(text) == nil)
    }

    @Test("A1: an id is stored as its text; bytes of another length are none")
    func codable() throws {
        var generator = SeededGenerator(seed: 5)
        let id = RequestID(now: Timestamp(seconds: 1_800_000_000), using: &generator)
        let data = try JSONEncoder().encode([id])
        #expect(String(decoding: data, as: UTF8.self) == "[\"\(id)\"]")
        #expect(try JSONDecoder().decode([RequestID].self, from: data) == [id])
        #expect(throws: DecodingError.self) { try JSONDecoder().decode([RequestID].self, from: Data("[\"x\"]".utf8)) }
        #expect(RequestID(bytes: [1, 2, 3]) == nil)
    }

    @Test("A2: these changes of status are possible, and no others", arguments: RequestTransition.allCases)
    func transitions(_ transition: RequestTransition) {
        let allowed: [RequestTransition: [RequestStatus: RequestStatus]] = [
            .claim: [.inQueue: .inProgress],
            .complete: [.inProgress: .completed],
            .fail: [.inProgress: .failed],
            .retryAttempt: [.inProgress: .inQueue],
            .giveBack: [.inProgress: .inQueue],
            .cancel: [.inQueue: .cancelled, .inProgress: .cancelled],
            .expire: [.inQueue: .failed],
            .retryByHand: [.failed: .inQueue],
        ]
        for status in RequestStatus.allCases {
            #expect(transition.apply(to: status) == allowed[transition]?[status])
        }
    }

    @Test("A2: an ended request leaves its status only by hand, and only from failed")
    func ended() {
        for status in RequestStatus.allCases where status.isEnded {
            let ways = RequestTransition.allCases.filter { $0.apply(to: status) != nil }
            #expect(ways == (status == .failed ? [.retryByHand] : []))
        }
        #expect(RequestStatus.allCases.filter { !$0.isEnded } == [.inQueue, .inProgress])
        #expect(
            RequestStatus.allCases.map(\.rawValue) == ["in_queue", "in_progress", "completed", "failed", "cancelled"])
    }
}
