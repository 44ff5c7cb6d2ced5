import Foundation
import TestSupport

/// The content of a disk after a power cut, as POSIX specifies it: the bytes of a file that was synced after they were
/// written, and the names of a folder that was synced after they were given. Anything else may or may not have arrived.
struct DiskModel {
    /// What happens to everything that was not synced.
    enum Loss: Hashable, Sendable, CustomStringConvertible {
        /// Nothing arrived.
        case all
        /// Names arrived, bytes did not.
        case bytes
        /// Some names in order and some bytes in any order arrived, torn at 512 bytes; the seed decides.
        case torn(UInt64)
        /// Everything arrived: only the process was killed.
        case nothing

        var description: String {
            switch self {
            case .all: "unsynced lost"
            case .bytes: "unsynced bytes lost"
            case .torn(let seed): "torn \(seed)"
            case .nothing: "nothing lost"
            }
        }
    }

    /// The files of a disk by path, and its folders.
    struct Image: Hashable {
        var files: [String: Data] = [:]
        var folders: Set<String> = []

        func write(below root: String, to folder: URL) throws {
            func place(_ path: String) -> URL { folder.appending(path: String(path.dropFirst(root.count))) }
            for path in folders.sorted() {
                try FileManager.default.createDirectory(at: place(path), withIntermediateDirectories: true)
            }
            for (path, bytes) in files { try bytes.write(to: place(path)) }
        }
    }

    private enum Change {
        case write(offset: Int, bytes: Data)
        case truncate(Int)
        case erase(Range<Int>)
    }

    private enum NameChange {
        case file(String, node: Int)
        case folder(String)
        case rename(String, String)
        case remove(String)
    }

    private struct Names {
        var files: [String: Int] = [:]
        var folders: Set<String> = []

        mutating func apply(_ change: NameChange) {
            switch change {
            case .file(let path, let node): files[path] = node
            case .folder(let path): folders.insert(path)
            case .rename(let old, let new): if let node = files.removeValue(forKey: old) { files[new] = node }
            case .remove(let path): files[path] = nil
            }
        }
    }

    private struct Node {
        var durable = Data()
        var present = Data()
        var pending: [Change] = []
    }

    private enum Opened {
        case node(Int)
        case folder(String)
    }

    private let root: String
    private var nodes: [Node] = []
    private var present = Names()
    private var durable = Names()
    /// By folder, in order.
    private var pendingNames: [String: [NameChange]] = [:]
    private var opened: [Int: Opened] = [:]

    /// - Parameter root: an existing, empty folder.
    init(root: String) { self.root = root }

    mutating func apply(_ event: DiskEvent) {
        switch event {
        case .opened(let file, let path, let isNew):
            if isNew {
                nodes.append(Node())
                rename(.file(path, node: nodes.count - 1), in: path)
            }
            opened[file] = present.files[path].map { .node($0) } ?? .folder(path)
        case .wrote(let file, let offset, let bytes): change(file, .write(offset: offset, bytes: bytes))
        case .truncated(let file, let length): change(file, .truncate(length))
        case .erased(let file, let range): change(file, .erase(range))
        case .synced(let file): sync(file)
        case .syncFailed(let file):
            // The system reports that once and may drop the bytes; a later sync does not report it.
            guard case .node(let node)? = opened[file] else { return }
            nodes[node].pending.removeAll { if case .write = $0 { true } else { false } }
        case .renamed(let from, let to): rename(.rename(from, to), in: to)
        case .unlinked(let path): rename(.remove(path), in: path)
        case .madeFolder(let path): rename(.folder(path), in: path)
        }
    }

    private mutating func rename(_ change: NameChange, in path: String) {
        present.apply(change)
        let parent = path.split(separator: "/").dropLast().map { "/\($0)" }.joined()
        pendingNames[parent, default: []].append(change)
    }

    private mutating func change(_ file: Int, _ change: Change) {
        guard case .node(let node)? = opened[file] else { return }
        Self.apply(change, to: &nodes[node].present)
        nodes[node].pending.append(change)
    }

    private mutating func sync(_ file: Int) {
        switch opened[file] {
        case .node(let node):
            for change in nodes[node].pending { Self.apply(change, to: &nodes[node].durable) }
            nodes[node].pending = []
        case .folder(let path):
            for change in pendingNames.removeValue(forKey: path) ?? [] { durable.apply(change) }
        case nil: break
        }
    }

    private static func apply(_ change: Change, to data: inout Data) {
        switch change {
        case .truncate(let length): resize(&data, to: length)
        case .erase(let range):
            let inside = range.clamped(to: 0..<data.count)
            if !inside.isEmpty { data.resetBytes(in: inside) }
        case .write(let offset, let bytes):
            if data.count < offset + bytes.count { resize(&data, to: offset + bytes.count) }
            data.withUnsafeMutableBytes { target in
                bytes.withUnsafeBytes {
                    UnsafeMutableRawBufferPointer(rebasing: target[offset...]).copyMemory(from: $0)
                }
            }
        }
    }

    private static func resize(_ data: inout Data, to length: Int) {
        if length < data.count { data = data.prefix(length) } else { data.append(Data(count: length - data.count)) }
    }

    /// The content of the disk if the power is cut now.
    func image(after loss: Loss) -> Image {
        var generator = SeededGenerator(seed: 0)
        var names = durable
        switch loss {
        case .all: break
        case .bytes, .nothing: names = present
        case .torn(let seed):
            generator = SeededGenerator(seed: seed)
            for (_, changes) in pendingNames.sorted(by: { $0.key < $1.key }) {
                for change in changes.prefix(Int.random(in: 0...changes.count, using: &generator)) {
                    names.apply(change)
                }
            }
        }
        var image = Image()
        // The content of a folder is lost with the folder's name.
        for path in names.folders.sorted() where isReachable(path, image.folders) { image.folders.insert(path) }
        for (path, node) in names.files.sorted(by: { $0.key < $1.key }) where isReachable(path, image.folders) {
            image.files[path] = content(nodes[node], loss, &generator)
        }
        return image
    }

    private func isReachable(_ path: String, _ folders: Set<String>) -> Bool {
        let parent = path.split(separator: "/").dropLast().map { "/\($0)" }.joined()
        return parent == root || folders.contains(parent)
    }

    private func content(_ node: Node, _ loss: Loss, _ generator: inout SeededGenerator) -> Data {
        switch loss {
        case .all, .bytes: return node.durable
        case .nothing: return node.present
        case .torn:
            var data = node.durable
            for change in node.pending {
                switch change {
                case .truncate, .erase: if Bool.random(using: &generator) { Self.apply(change, to: &data) }
                case .write(let offset, let bytes):
                    // All sectors, none, or a random selection.
                    switch Int.random(in: 0..<3, using: &generator) {
                    case 0: break
                    case 1: Self.apply(change, to: &data)
                    default:
                        for start in stride(from: 0, to: bytes.count, by: 512) where Bool.random(using: &generator) {
                            let end = min(start + 512, bytes.count)
                            Self.apply(.write(offset: offset + start, bytes: bytes.subdata(in: start..<end)), to: &data)
                        }
                    }
                }
            }
            return data
        }
    }
}
