import Core
import Crypto
import Foundation
import NIOCore
import NIOHTTP1
import TestSupport
import Testing

extension EndToEnd {
    @Suite("Requests and results")
    struct Requests {
        static let engines = Platform.EngineKind.allCases

        @Test("A1, A2, A3: POST returns a UUID v7 at once, under which the result stays readable", arguments: engines)
        func submitAndRead(_ engine: Platform.EngineKind) async throws {
            let api = try EndToEnd.echo(engine)
            let id = try await api.submit("{}")
            #expect(id.split(separator: "-")[2].hasPrefix("7"))
            #expect(try await api.read(id).json?["status"].exists == true)
            let answer = try await api.ended(id)
            let document = try #require(answer.json)
            #expect(document["id"].string == id && document["status"].string == "completed")
            #expect(document["timestamp"].string?.hasSuffix("Z") == true)
            #expect(answer.headers["content-type"] == ["application/json"])
            #expect(try await api.read(id).text == answer.text)
        }

        @Test(
            "C1, C2, C3: the container gets POST / with the caller's body, type, query and headers", arguments: engines)
        func forwards(_ engine: Platform.EngineKind) async throws {
            let api = try EndToEnd.echo(engine)
            var body = [UInt8](repeating: 0, count: 300_000)
            var generator = SeededGenerator(seed: 7)
            for index in body.indices { body[index] = UInt8.random(in: 0...255, using: &generator) }
            let answer = try await HTTP.post(
                "\(api.url)?a=1&b=%20x", body,
                headers: [
                    ("Content-Type", "Image/X-Odd; q=\"1\""), ("X-Mine", "kept"), ("Authorization", "Bearer mine"),
                    ("Prefer", "respond-async"), ("Accept-Encoding", "gzip"), ("X-Cortex-Request-ID", "forged"),
                    ("X-Cortex-Other", "forged"), ("Connection", "X-Hop"), ("X-Hop", "gone"),
                ])
            let id = try #require(answer.json?["id"].string)
            let result = try #require(try await api.ended(id).json)["result"]
            #expect(result["method"].string == "POST" && result["path"].string == "/?a=1&b=%20x")
            #expect(result["size"].int == body.count)
            #expect(result["sha256"].string == SHA256.hash(data: body).map { String(format: "%02x", $0) }.joined())
            let headers = (result["headers"].array ?? []).map { ($0[0].string ?? "", $0[1].string ?? "") }
            func values(_ name: String) -> [String] { headers.filter { $0.0 == name }.map(\.1) }
            #expect(values("content-type") == ["Image/X-Odd; q=\"1\""])
            #expect(values("content-length") == ["300000"])
            #expect(values("x-cortex-request-id") == [id])
            #expect(values("x-mine") == ["kept"] && values("authorization") == ["Bearer mine"])
            for name in ["prefer", "accept-encoding", "x-cortex-other", "x-hop", "transfer-encoding"] {
                #expect(values(name) == [], "\(name)")
            }
        }

        @Test("C2: an empty body and an absent content type are unchanged", arguments: engines)
        func emptyBody(_ engine: Platform.EngineKind) async throws {
            let result = try await EndToEnd.echo(engine).result("")
            #expect(result["size"].int == 0)
            let names = (result["headers"].array ?? []).compactMap { $0[0].string }
            #expect(!names.contains("content-type") && names.contains("content-length"))
        }

        @Test(
            "C5: the result is stored verbatim",
            arguments: engines,
            [
                #"{"b":12345678901234567890,"a":1.0,"b":1e400,"u":"\u00e9\ud83d\ude00é<>&"}"#,
                "[ 1 ,\t2 ]", "\"text\"", "null", "-0.0", "true", "[]",
            ])
        func verbatim(_ engine: Platform.EngineKind, json: String) async throws {
            let answer = try await EndToEnd.echo(engine).call(json, do: "verbatim")
            #expect(answer.text.contains("\"result\":\(json),"), "\(answer.text)")
        }

        @Test("C5, A9: a result of 5 MB is returned completely", arguments: engines)
        func largeResult(_ engine: Platform.EngineKind) async throws {
            let answer = try await EndToEnd.echo(engine).call("5000000", do: "big")
            #expect(answer.json?["result"].string?.utf8.count == 4_999_998)
        }

        struct WrongAnswer: Sendable, CustomTestStringConvertible {
            var answer: String
            var kind: String
            var testDescription: String { kind }
        }

        static let wrongAnswers = [
            WrongAnswer(answer: #"{"status":503,"body":"{\"why\":\"busy\"}"}"#, kind: "container_status"),
            WrongAnswer(answer: #"{"status":201}"#, kind: "container_status"),
            WrongAnswer(answer: #"{"status":302,"headers":{"Location":"/other"}}"#, kind: "container_status"),
            WrongAnswer(answer: #"{"type":"text/plain"}"#, kind: "container_not_json_type"),
            WrongAnswer(answer: #"{"type":""}"#, kind: "container_not_json_type"),
            WrongAnswer(answer: #"{"body":"{} trailing"}"#, kind: "container_invalid_json"),
            WrongAnswer(answer: #"{"body":""}"#, kind: "container_invalid_json"),
            WrongAnswer(answer: #"{"body":"NaN"}"#, kind: "container_invalid_json"),
        ]

        @Test("C4, A3: a wrong answer fails with its kind", arguments: engines, wrongAnswers)
        func wrongAnswer(_ engine: Platform.EngineKind, _ wrong: WrongAnswer) async throws {
            let document = try #require(try await EndToEnd.echo(engine).call(wrong.answer, do: "answer").json)
            #expect(document["status"].string == "failed")
            #expect(document["error"]["kind"].string == wrong.kind)
            #expect(document["error"]["message"].string?.isEmpty == false)
            #expect(document["attempts"].int == 1)
            #expect(document["timestamp"].exists)
        }

        @Test("A3: a wrong status keeps the status and the first 4 KiB of the body", arguments: engines)
        func wrongStatus(_ engine: Platform.EngineKind) async throws {
            let body = String(repeating: "y", count: 5000)
            let document = try #require(
                try await EndToEnd.echo(engine).call(#"{"status":418,"body":"\#(body)"}"#, do: "answer").json)
            #expect(document["error"]["status_code"].int == 418)
            #expect(document["error"]["body"].string == String(repeating: "y", count: 4096))
        }

        @Test("C4: the media type may have parameters and any case", arguments: engines)
        func mediaType(_ engine: Platform.EngineKind) async throws {
            let result = try await EndToEnd.echo(engine).call(
                #"{"type":"Application/JSON; charset=utf-8","body":"[1]"}"#, do: "answer")
            #expect(result.json?["status"].string == "completed")
        }

        @Test("A4: unknown endpoints, ids, and wrong methods", arguments: engines)
        func errors(_ engine: Platform.EngineKind) async throws {
            let api = try EndToEnd.echo(engine)
            let gateway = api.platform.addresses.gateway
            let unknown = try await HTTP.post("\(gateway)/nothing", [])
            #expect(unknown.status == 404 && unknown.json?["error"]["kind"].string == "not_found")
            let id = "01890000-0000-7000-8000-000000000000"
            #expect(try await api.read(id).status == 404)
            #expect(try await api.read("no-id").status == 404)
            let wrong = try await HTTP.call(.PUT, api.url)
            #expect(wrong.status == 405 && wrong.headers["allow"].first?.contains("POST") == true)
            #expect(wrong.json?["error"]["kind"].string == "method_not_allowed")
        }

        @Test("A4: a payload over max_payload is refused with 413", arguments: engines)
        func tooLarge(_ engine: Platform.EngineKind) async throws {
            try await EndToEnd.platform(engine).with("small", api: "max_payload: 1000") { api async throws in
                let answer = try await HTTP.post(api.url, [UInt8](repeating: 1, count: 1001))
                #expect(answer.status == 413 && answer.json?["error"]["kind"].string == "payload_too_large")
                #expect(try await HTTP.post(api.url, [UInt8](repeating: 1, count: 1000)).status == 200)
            }
        }

        @Test("A8: a browser may call from any origin with any header", arguments: engines)
        func cors(_ engine: Platform.EngineKind) async throws {
            let api = try EndToEnd.echo(engine)
            let preflight = try await HTTP.call(
                .OPTIONS, api.url,
                headers: [
                    ("Origin", "https://example.org"), ("Access-Control-Request-Method", "POST"),
                    ("Access-Control-Request-Headers", "x-anything, content-type"),
                ])
            #expect((200...204).contains(preflight.status))
            #expect(
                preflight.headers["access-control-allow-origin"].first.map {
                    ["*", "https://example.org"].contains($0)
                } == true)
            #expect(preflight.headers["access-control-allow-headers"].first?.contains("x-anything") == true)
            let head = try await HTTP.call(.HEAD, "\(api.url)/\(try await api.submit("{}"))")
            #expect(head.status == 200 && head.bytes.isEmpty)
        }

        @Test("A9: 64 MiB need little memory", arguments: engines)
        func streams(_ engine: Platform.EngineKind) async throws {
            let api = try EndToEnd.echo(engine)
            let before = try residentMemory(of: api.platform.pid)
            let answer = try await HTTP.post(api.url, [UInt8](repeating: 65, count: 64 << 20))
            let id = try #require(answer.json?["id"].string)
            #expect(try await api.ended(id).json?["result"]["size"].int == 64 << 20)
            let growth = try residentMemory(of: api.platform.pid) - before
            #expect(growth < 64 << 20, "grew by \(growth >> 20) MiB")
        }

        private func residentMemory(of pid: Int32) throws -> Int {
            let fields = try String(contentsOfFile: "/proc/\(pid)/statm", encoding: .utf8).split(separator: " ")
            return try #require(Int(fields[1])) * 4096
        }

        @Test("C11: at most max_concurrency requests are inside a pod at a time", arguments: engines)
        func concurrency(_ engine: Platform.EngineKind) async throws {
            try await EndToEnd.platform(engine).with("narrow", pod: "max_concurrency: 3") { api async throws in
                var ids: [String] = []
                for _ in 0..<12 { ids.append(try await api.submit("0.1", do: "sleep")) }
                for id in ids { #expect(try await api.ended(id).json?["status"].string == "completed") }
                #expect(try await api.result("", do: "most-inside")["most"].int == 3)
            }
        }

        @Test(
            "A11, A3: a container that ends during a request gets it again; after three attempts it fails with replica_lost",
            arguments: engines)
        func redelivers(_ engine: Platform.EngineKind) async throws {
            try await EndToEnd.platform(engine).with("dying") { api async throws in
                let once = try await api.ended(try await api.submit("", do: "exit-once"))
                #expect(once.json?["status"].string == "completed", "\(once.text)")
                #expect(once.json?["attempts"].int == 2)
                let always = try await api.ended(try await api.submit("7", do: "exit"))
                #expect(always.json?["error"]["kind"].string == "replica_lost", "\(always.text)")
                #expect(always.json?["attempts"].int == 3)
            }
        }

        @Test("A3: an attempt that takes longer than timeout fails with timeout", arguments: engines)
        func timeout(_ engine: Platform.EngineKind) async throws {
            try await EndToEnd.platform(engine).with("slow", api: "timeout: 1s") { api async throws in
                let document = try #require(try await api.call("30", do: "sleep").json)
                #expect(document["error"]["kind"].string == "timeout", "\(document)")
            }
        }

        @Test("A7: a request in progress is cancelled", arguments: engines)
        func cancel(_ engine: Platform.EngineKind) async throws {
            let api = try EndToEnd.echo(engine)
            let id = try await api.submit("30", do: "sleep")
            try await expectEventually { try await api.read(id).json?["status"].string == "in_progress" }
            let answer = try await HTTP.call(.DELETE, "\(api.url)/\(id)")
            #expect(answer.status == 200 && answer.json?["status"].string == "cancelled")
            #expect(try await HTTP.call(.DELETE, "\(api.url)/\(id)").status == 409)
        }
    }
}

extension EndToEnd {
    /// Erased data is really removed from the disk. The store does that independently of the engine, so one engine is
    /// enough.
    @Suite("Erasure")
    struct Erasure {
        @Test(
            "C6, A12: payloads are erased with a request's end, results after retention; then no file contains a byte of them"
        )
        func erased() async throws {
            let platform = try EndToEnd.platform(.sandbox)
            // Long enough to read the result, short enough for the test.
            try await platform.with("short-lived", api: "retention: 5s\nkeep_failed: 0s") { api async throws in
                let small = "\"small \(UUID().uuidString)\""
                let marker = UUID().uuidString
                // In a segment, and in its own file.
                let large = [4000, 9000].map { "\"\(String(repeating: marker, count: $0))\"" }
                let header = "header-\(UUID().uuidString)"
                var ids: [String] = []
                for body in [small] + large {
                    let id = try await api.submit(body, do: "verbatim", headers: [("X-Note", header)])
                    #expect(try await api.ended(id).text.contains(body))
                    ids.append(id)
                }
                let failing = "{\"status\":500,\"body\":\"\(UUID().uuidString)\"}"
                let failed = try await api.submit(failing, do: "answer")
                #expect(try await api.ended(failed).json?["status"].string == "failed")
                ids.append(failed)
                for id in ids {
                    try await expectEventually(within: .seconds(60)) { try await api.read(id).status == 404 }
                }
                let traces = [small, marker, header, String(failing.suffix(38))]
                let isGone = try await eventually(within: .seconds(150)) {
                    try Self.files(of: platform, with: traces).isEmpty
                }
                let left = try Self.files(of: platform, with: traces)
                #expect(isGone, "still in \(left)")
            }
        }

        /// Files below the data directory that contain one of the texts.
        private static func files(of platform: Platform, with texts: [String]) throws -> [String] {
            let needles = texts.map { Data($0.utf8) }
            let names = FileManager.default.enumerator(atPath: platform.data.path)?.compactMap { $0 as? String } ?? []
            return names.filter { name in
                let path = platform.data.appending(path: name).path
                let type = try? FileManager.default.attributesOfItem(atPath: path)[.type] as? FileAttributeType
                // A file that was removed meanwhile contains nothing.
                guard type == .typeRegular, let data = FileManager.default.contents(atPath: path) else { return false }
                return needles.contains { data.range(of: $0) != nil }
            }
        }
    }
}
