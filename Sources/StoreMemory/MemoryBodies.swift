import Core
import Synchronization

/// The bodies beyond ``Limits/inlineBody``; a store with a disk has files for them.
final class MemoryBodies: Sendable {
    private struct State {
        var nextName = 0
        var files: [String: [UInt8]] = [:]
    }

    private let state = Mutex(State())

    func save(_ bytes: [UInt8]) -> Body {
        state.withLock { state in
            state.nextName += 1
            let name = "body-\(state.nextName)"
            state.files[name] = bytes
            return .stored(key: name, size: Int64(bytes.count))
        }
    }

    func erase(_ body: Body) {
        guard case .stored(let name, _) = body else { return }
        state.withLock { $0.files[name] = nil }
    }

    func reader(of body: Body) throws -> any BodyReader {
        switch body {
        case .inline(let bytes): return MemoryBodyReader(bytes)
        case .stored(let name, _):
            guard let bytes = state.withLock({ $0.files[name] }) else {
                throw PlatformError(.notFound, "This body is not stored any more.")
            }
            return MemoryBodyReader(bytes)
        }
    }
}

final class MemoryBodyWriter: BodyWriter {
    private let bodies: MemoryBodies
    private let state = Mutex<(bytes: [UInt8], body: Body?)>(([], nil))

    init(bodies: MemoryBodies) { self.bodies = bodies }

    func write(_ bytes: [UInt8]) async throws {
        state.withLock { $0.bytes += bytes }
    }

    func finish() async throws -> Body {
        state.withLock { state in
            let body = state.bytes.count > Limits.inlineBody ? bodies.save(state.bytes) : .inline(state.bytes)
            state = ([], body)
            return body
        }
    }

    func discard() async {
        let body = state.withLock { state in
            defer { state = ([], nil) }
            return state.body
        }
        if let body { bodies.erase(body) }
    }
}

final class MemoryBodyReader: BodyReader {
    private let rest: Mutex<ArraySlice<UInt8>>

    init(_ bytes: [UInt8]) { self.rest = Mutex(bytes[...]) }

    func read(upTo limit: Int) async throws -> [UInt8]? {
        rest.withLock { rest in
            guard !rest.isEmpty else { return nil }
            defer { rest = rest.dropFirst(max(1, limit)) }
            return Array(rest.prefix(max(1, limit)))
        }
    }

    func close() async {}
}
