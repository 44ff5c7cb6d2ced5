import Core
import Foundation
import Synchronization

/// Collects a body: in memory while it is small, then in a segment or, beyond the size of the buffer, in its own file.
final class BodyFileWriter: BodyWriter {
    /// Bytes that are collected before they are written.
    static let bufferSize = BodySegments.bodyLimit

    private enum Stage {
        case open
        /// A write failed; the rest of this body is discarded.
        case failed
        case finished(Body)
        case discarded
    }

    private struct State {
        var buffer: [UInt8] = []
        var written: Int64 = 0
        var file: TemporaryFile?
        var stage = Stage.open
    }

    private let files: BodyFiles
    private let committer: Committer
    private let state = Mutex(State())

    init(files: BodyFiles, committer: Committer) {
        self.files = files
        self.committer = committer
    }

    func write(_ bytes: [UInt8]) async throws {
        let full = try state.withLock { state -> [UInt8]? in
            guard case .open = state.stage else { throw Self.ended }
            if state.buffer.isEmpty { state.buffer = bytes } else { state.buffer += bytes }
            guard state.buffer.count >= Self.bufferSize else { return nil }
            defer { state.buffer = [] }
            return state.buffer
        }
        if let full { try await append(full) }
    }

    func finish() async throws -> Body {
        enum Rest {
            case whole([UInt8])
            case tail([UInt8])
            case done(Body)
        }
        let rest = try state.withLock { state -> Rest in
            switch state.stage {
            case .finished(let body): return .done(body)
            case .failed, .discarded: throw Self.ended
            case .open: break
            }
            defer { state.buffer = [] }
            guard state.file == nil else { return .tail(state.buffer) }
            guard state.buffer.count <= Limits.inlineBody else { return .whole(state.buffer) }
            let body = Body.inline(state.buffer)
            state.stage = .finished(body)
            return .done(body)
        }
        do {
            let body: Body
            switch rest {
            case .done(let done): return done
            case .whole(let bytes):
                body = .stored(key: try await files.segments.write(bytes).name, size: Int64(bytes.count))
            case .tail(let bytes):
                let file = try await append(bytes)
                try await files.run(lane: file.lane) { try file.publish() }
                body = .stored(key: file.name, size: state.withLock { $0.written })
            }
            state.withLock { state in
                state.file = nil
                state.stage = .finished(body)
            }
            return body
        } catch {
            state.withLock { $0.stage = .failed }
            throw error
        }
    }

    func discard() async {
        let name = state.withLock { state -> String? in
            defer {
                state.buffer = []
                // The last reference: it removes its file.
                state.file = nil
                state.stage = .discarded
            }
            guard case .finished(.stored(let name, _)) = state.stage else { return nil }
            return name
        }
        // After a failed commit the next start might still find the row, which then needs the file; otherwise that
        // start removes the file.
        if let name, !committer.isUncertain { files.removeNow([name]) }
    }

    /// Writes to the file, which is created for the first bytes.
    @discardableResult
    private func append(_ bytes: [UInt8]) async throws -> TemporaryFile {
        let present = state.withLock { $0.file }
        let (name, lane) = present.map { ($0.name, $0.lane) } ?? files.nextName()
        do {
            let files = files
            let file = try await files.run(lane: lane) {
                let file = try present ?? TemporaryFile(files: files, name: name, lane: lane)
                try file.append(bytes)
                return file
            }
            state.withLock { state in
                state.file = file
                state.written += Int64(bytes.count)
            }
            return file
        } catch {
            state.withLock { $0.stage = .failed }
            throw error
        }
    }

    private static let ended = PlatformError(.internal, "A body was written to after its end.")
}

/// A body file without a final name; removed with its last reference unless it was published.
private final class TemporaryFile: Sendable {
    let name: String
    let lane: Int
    private let files: BodyFiles
    private let descriptor: OwnedDescriptor
    private let isPublished = Mutex(false)

    init(files: BodyFiles, name: String, lane: Int) throws {
        let descriptor = Glibc.open(files.temporaryPath(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw StoreFailure.SystemCall("create body") }
        self.descriptor = OwnedDescriptor(descriptor)
        self.files = files
        self.name = name
        self.lane = lane
    }

    func append(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { buffer in
            var rest = buffer[...]
            while !rest.isEmpty {
                let count = Glibc.write(
                    descriptor.value, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count < 0 {
                    if errno == EINTR { continue }
                    throw StoreFailure.SystemCall("write body")
                }
                rest = rest.dropFirst(count)
            }
        }
    }

    func publish() throws {
        try files.publish(name, descriptor.value)
        isPublished.withLock { $0 = true }
    }

    deinit {
        guard !isPublished.withLock({ $0 }) else { return }
        // The rename may have happened before its sync failed, so both names are removed.
        files.removeNow(["\(name).tmp", name])
    }
}
