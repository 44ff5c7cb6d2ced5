/// Which bodies stand in which segments, who reads them, and what is to be erased: a value that is told what happened
/// and asked what to do.
struct SegmentTable {
    /// Erased bytes that may wait for the next upkeep. Requests end nearly in the order in which they came, so most
    /// segments are removed as a whole before that, and no hole is ever punched in them.
    static let deadLimit: Int64 = 128 << 20
    /// Bytes of new bodies that are kept at hand: most are asked for in their first moments.
    static let recentLimit = 8 << 20

    /// What is to be done to files.
    enum Task: Equatable {
        /// Nothing is left in this segment.
        case remove(segment: String)
        case erase(segment: String, ranges: [Range<Int64>])
    }

    private struct Entry {
        let length: Int64
        var readers = 0
        /// Let go of while it was being read.
        var isErased = false
        var bytes: [UInt8]?
    }

    private struct Segment {
        var entries: [Int64: Entry] = [:]
        /// Nothing is written to it any more.
        var isSealed = false
        var dead: [Range<Int64>] = []
        /// Could not be erased yet.
        var failed: [Range<Int64>] = []

        var isOver: Bool { isSealed && entries.isEmpty }
    }

    private var segments: [String: Segment] = [:]
    /// Sealed and without a body since tasks were last taken.
    private var emptied: Set<String> = []
    private var deadBytes: Int64 = 0
    private var recentBytes = 0
    private var recent: (older: Set<SegmentPlace>, newer: Set<SegmentPlace>) = ([], [])

    // MARK: What the writer tells

    /// - Parameter isSealed: for a segment of an earlier process.
    mutating func open(_ segment: String, isSealed: Bool = false) {
        segments[segment] = Segment(isSealed: isSealed)
    }

    /// A body that is durable.
    mutating func add(_ place: SegmentPlace, bytes: [UInt8]? = nil) {
        var entry = Entry(length: place.length)
        if let bytes, recentBytes + bytes.count <= Self.recentLimit {
            entry.bytes = bytes
            recentBytes += bytes.count
            recent.newer.insert(place)
        }
        segments[place.segment]?.entries[place.offset] = entry
    }

    mutating func seal(_ segment: String) {
        segments[segment]?.isSealed = true
        sealIfFull(segment)
    }

    /// What was written here belongs to no body.
    mutating func release(_ segment: String, _ range: Range<Int64>) {
        if !range.isEmpty { markAsGarbage(range, in: segment) }
        seal(segment)
    }

    /// Seals a segment in which no body stands any more.
    ///
    /// - Returns: whether it did.
    mutating func sealIfUnused(_ name: String) -> Bool {
        guard let segment = segments[name], segment.entries.isEmpty else { return false }
        seal(name)
        return true
    }

    // MARK: Reading

    /// What a reader gets: the bytes themselves, or the right to read them until `endReading`.
    enum Reading {
        case bytes([UInt8])
        case file
    }

    /// - Returns: `nil` for a body that is not there any more.
    mutating func beginReading(_ place: SegmentPlace) -> Reading? {
        guard let entry = segments[place.segment]?.entries[place.offset], !entry.isErased, entry.length == place.length
        else { return nil }
        if let bytes = entry.bytes { return .bytes(bytes) }
        segments[place.segment]?.entries[place.offset]?.readers += 1
        return .file
    }

    /// - Returns: whether there is something now that should not wait.
    mutating func endReading(_ place: SegmentPlace) -> Bool {
        segments[place.segment]?.entries[place.offset]?.readers -= 1
        guard let entry = segments[place.segment]?.entries[place.offset], entry.isErased else { return false }
        drop(place, entry)
        return isDue
    }

    /// Lets go of bodies that were at hand since before the last call.
    mutating func forgetOlder() {
        for place in recent.older { forget(place) }
        recent = (recent.newer, [])
    }

    // MARK: Erasing

    mutating func erase(_ place: SegmentPlace) {
        guard let entry = segments[place.segment]?.entries[place.offset], entry.length == place.length else { return }
        drop(place, entry)
    }

    /// Whether there is something that should not wait.
    var isDue: Bool { !emptied.isEmpty || deadBytes > Self.deadLimit }

    /// What is to be done to the files now.
    ///
    /// - Parameter everything: also what may wait, and what failed before.
    mutating func takeTasks(everything: Bool) -> [Task] {
        let isOverLimit = deadBytes > Self.deadLimit
        let names = everything || isOverLimit ? Set(segments.keys) : emptied
        emptied = []
        return names.sorted().compactMap { name in
            guard let segment = segments[name] else { return nil }
            if segment.isOver {
                deadBytes -= segment.dead.reduce(0) { $0 + Int64($1.count) }
                segments[name] = nil
                return .remove(segment: name)
            }
            let ranges = Self.merged(segment.dead + (everything ? segment.failed : []))
            guard !ranges.isEmpty else { return nil }
            deadBytes -= segment.dead.reduce(0) { $0 + Int64($1.count) }
            segments[name]?.dead = []
            if everything { segments[name]?.failed = [] }
            return .erase(segment: name, ranges: ranges)
        }
    }

    /// A task could not be done: it comes again with everything else.
    mutating func failed(_ task: Task) {
        switch task {
        case .remove(let name): open(name, isSealed: true)
        case .erase(let name, let ranges): segments[name]?.failed += ranges
        }
    }

    /// How many segments hold something that could not be erased.
    var failedCount: Int { segments.values.count { !$0.failed.isEmpty || $0.isOver } }

    // MARK: Tools

    private mutating func drop(_ place: SegmentPlace, _ entry: Entry) {
        forget(place)
        guard entry.readers == 0 else {
            segments[place.segment]?.entries[place.offset]?.isErased = true
            return
        }
        segments[place.segment]?.entries[place.offset] = nil
        markAsGarbage(place.blocks, in: place.segment)
        sealIfFull(place.segment)
    }

    private mutating func markAsGarbage(_ range: Range<Int64>, in segment: String) {
        segments[segment]?.dead.append(range)
        deadBytes += Int64(range.count)
    }

    private mutating func sealIfFull(_ segment: String) {
        if segments[segment]?.isOver == true { emptied.insert(segment) }
    }

    private mutating func forget(_ place: SegmentPlace) {
        guard (recent.older.remove(place) ?? recent.newer.remove(place)) != nil else { return }
        segments[place.segment]?.entries[place.offset]?.bytes = nil
        recentBytes -= Int(place.length)
    }

    /// The same bytes in as few ranges as can be.
    static func merged(_ ranges: [Range<Int64>]) -> [Range<Int64>] {
        var merged: [Range<Int64>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, range.lowerBound <= last.upperBound {
                merged[merged.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        return merged
    }
}
