import Core
import Foundation
import TestSupport
import Testing

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
