import Foundation
import GRDB
import Logging

/// The bodies outside the database that rows name.
struct NamedBodies {
    /// Those with their own file.
    private(set) var files: Set<String> = []
    private(set) var places: Set<SegmentPlace> = []

    var count: Int { files.count + places.count }

    /// The files that contain them.
    var fileNames: Set<String> { files.union(places.map { SegmentPlace.fileName(segment: $0.segment) }) }

    init(files: Set<String> = [], places: Set<SegmentPlace> = []) {
        self.files = files
        self.places = places
    }

    init(_ db: Database) throws {
        let names = try String.fetchCursor(
            db,
            sql: """
                SELECT file FROM payload WHERE file IS NOT NULL UNION ALL SELECT file FROM answer WHERE file IS NOT NULL
                """)
        while let name = try names.next() {
            if let place = SegmentPlace(name) { places.insert(place) } else { files.insert(name) }
        }
    }

    /// The latest epoch in a name.
    var epoch: UInt64 {
        files.union(places.map(\.segment)).compactMap(BodyName.epoch).max() ?? 0
    }
}

/// The work of a start in the folder of bodies: files and bytes that no row names were left by a crash.
enum BodySweep {
    /// Removes files that no row names, and erases bytes in segments that no row names.
    ///
    /// - Returns: the existing bodies in segments.
    static func run(_ folder: String, named: NamedBodies, logger: Logger) throws -> [SegmentPlace] {
        let places = Dictionary(grouping: named.places, by: \.segment)
        var present: [SegmentPlace] = []
        var files = 0
        var removed = 0
        for name in try list(folder) {
            if named.files.contains(name) {
                files += 1
            } else if let segment = SegmentPlace.segment(ofFile: name), let named = places[segment] {
                present += try sweep("\(folder)/\(name)", named: named)
            } else if unlink("\(folder)/\(name)") == 0 {
                removed += 1
            } else {
                throw StoreFailure.SystemCall("remove leftover")
            }
        }
        if removed > 0 { logger.info("leftover body files removed", metadata: ["count": "\(removed)"]) }
        let missing = named.count - files - present.count
        if missing > 0 { logger.error("bodies are missing", metadata: ["count": "\(missing)"]) }
        return present
    }

    private static func list(_ folder: String) throws -> [String] {
        guard let stream = opendir(folder) else { throw StoreFailure.SystemCall("list folder") }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Erases everything in a segment except the bodies that rows name.
    ///
    /// - Returns: those of the named bodies that are within the length of the file.
    private static func sweep(_ path: String, named: [SegmentPlace]) throws -> [SegmentPlace] {
        let segment = try SegmentErasure(path: path)
        let size = try segment.size()
        let present = named.filter { $0.offset + $0.length <= size }.sorted { $0.offset < $1.offset }
        var end: Int64 = 0
        for place in present {
            if place.offset > end { try segment.eraseData(in: end..<place.offset) }
            end = max(end, place.blocks.upperBound)
        }
        if end < size { try segment.eraseData(in: end..<SegmentPlace.blockEnd(size)) }
        return present
    }
}
