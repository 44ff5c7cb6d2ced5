/// The bodies in each segment, their readers, and what is to be erased: a value that records events and returns tasks.
struct SegmentTable {
    /// Erased bytes that may wait for the next upkeep. Requests end nearly in the order in which they arrived, so most
    /// segments are removed as a whole before that, without a hole.
    static let deadLimit: Int64 = 128 << 20
    /// Bytes of new bodies that are kept in memory: most are read shortly after they are stored.
    static let recentLimit = 8 << 20

    /// A task for the files.
    enum Task: Equatable {
        /// The segment has no content any more.
        case remove(segment: String)
        case erase(segment: String, ranges: [Range<Int64>])
    }

    private struct Entry {
        let length: Int64
        var readers = 0
        /// Released while it was read.
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
    /// Sealed and without a body since tasks were last returned.
    private var emptied: Set<String> = []
    private var deadBytes: Int64 = 0
    private var recentBytes = 0
    private var recent: (older: Set<SegmentPlace>, newer: Set<SegmentPlace>) = ([], [])

    // MARK: Events of the writer

    /// - Parameter isSealed: for a segment of an earlier process.
    mutating func open(_ segment: String, isSealed: Bool = false) {
        segments[segment] = Segment(isSealed: isSealed)
    }

    /// Adds a durable body.
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

    /// Releases a range that was written here and belongs to no body.
    mutating func release(_ segment: String, _ range: Range<Int64>) {
        if !range.isEmpty { markAsGarbage(range, in: segment) }
        seal(segment)
    }

    /// Seals a segment without bodies.
    ///
    /// - Returns: whether it was sealed.
    mutating func sealIfUnused(_ name: String) -> Bool {
        guard let segment = segments[name], segment.entries.isEmpty else { return false }
        seal(name)
        return true
    }

    // MARK: Reading

    /// What a reader gets: the bytes, or the right to read them until `endReading`.
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

    /// - Returns: whether there is a task that should not wait.
    mutating func endReading(_ place: SegmentPlace) -> Bool {
        segments[place.segment]?.entries[place.offset]?.readers -= 1
        guard let entry = segments[place.segment]?.entries[place.offset], entry.isErased else { return false }
        drop(place, entry)
        return isDue
    }

    /// Removes bodies from memory that were added before the previous call.
    mutating func forgetOlder() {
        for place in recent.older { forget(place) }
        recent = (recent.newer, [])
    }

    // MARK: Erasing

    mutating func erase(_ place: SegmentPlace) {
        guard let entry = segments[place.segment]?.entries[place.offset], entry.length == place.length else { return }
        drop(place, entry)
    }

    /// Whether there is a task that should not wait.
    var isDue: Bool { !emptied.isEmpty || deadBytes > Self.deadLimit }

    /// The tasks for the files.
    ///
    /// - Parameter everything: also tasks that may wait, and those that failed before.
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

    /// A task failed: it is returned again with the next call for everything.
    mutating func failed(_ task: Task) {
        switch task {
        case .remove(let name): open(name, isSealed: true)
        case .erase(let name, let ranges): segments[name]?.failed += ranges
        }
    }

    /// The number of segments with content that could not be erased.
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

    /// The same bytes in as few ranges as possible.
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
