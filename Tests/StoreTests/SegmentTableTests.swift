import Testing

@testable import StoreSQLite

@Suite("StoreSQLite: the table of segments")
struct SegmentTableTests {
    /// Mutating calls cannot be part of an expectation.
    private final class Table {
        private var value = SegmentTable()

        var isDue: Bool { value.isDue }
        var failedCount: Int { value.failedCount }

        func open(_ segment: String, isSealed: Bool = false) { value.open(segment, isSealed: isSealed) }
        func add(_ place: SegmentPlace, bytes: [UInt8]? = nil) { value.add(place, bytes: bytes) }
        func seal(_ segment: String) { value.seal(segment) }
        func release(_ segment: String, _ range: Range<Int64>) { value.release(segment, range) }
        func erase(_ place: SegmentPlace) { value.erase(place) }
        func beginReading(_ place: SegmentPlace) -> SegmentTable.Reading? { value.beginReading(place) }
        func endReading(_ place: SegmentPlace) -> Bool { value.endReading(place) }
        func forgetOlder() { value.forgetOlder() }
        func takeTasks(everything: Bool) -> [SegmentTable.Task] { value.takeTasks(everything: everything) }
        func failed(_ task: SegmentTable.Task) { value.failed(task) }
    }

    private func place(_ block: Int64, _ length: Int64 = 100, segment: String = "1-1") -> SegmentPlace {
        SegmentPlace(segment: segment, offset: block * SegmentPlace.block, length: length)
    }

    private func blocks(_ range: Range<Int64>) -> Range<Int64> {
        range.lowerBound * SegmentPlace.block..<range.upperBound * SegmentPlace.block
    }

    @Test("A place is restored from its name, and any other text is refused")
    func names() {
        let place = SegmentPlace(segment: "5f-1a", offset: 0x3000, length: 70_000)
        #expect(place.name == "5f-1a+3000+11170")
        #expect(SegmentPlace(place.name) == place)
        #expect(SegmentPlace.segment(ofFile: SegmentPlace.fileName(segment: "5f-1a")) == "5f-1a")
        for name in ["", "1-1", "1-1+0", "1-1+0+0", "1-1+-1+5", "1-1+0+5+1", "+0+5", "../x+0+5", "1-1+x+5", "1-1+0+"] {
            #expect(SegmentPlace(name) == nil, "\(name)")
        }
    }

    @Test("C6: adjacent bodies are erased together, a sealed segment without a body as a whole")
    func erasing() {
        let table = Table()
        table.open("1-1")
        // The second body extends into a second block.
        for place in [place(0), place(1, 5000), place(3), place(4)] { table.add(place) }
        for place in [place(3), place(0), place(1, 5000)] { table.erase(place) }
        #expect(!table.isDue)
        #expect(table.takeTasks(everything: false).isEmpty)
        #expect(table.takeTasks(everything: true) == [.erase(segment: "1-1", ranges: [blocks(0..<4)])])
        #expect(table.takeTasks(everything: true).isEmpty)
        table.erase(place(4))
        #expect(!table.isDue)
        table.seal("1-1")
        #expect(table.isDue)
        #expect(table.takeTasks(everything: false) == [.remove(segment: "1-1")])
        #expect(table.takeTasks(everything: true).isEmpty)
    }

    @Test("C6: a failed erasure is repeated, and counted until then")
    func failures() {
        let table = Table()
        table.open("1-1")
        table.add(place(0))
        table.add(place(1))
        table.erase(place(0))
        let erasing = SegmentTable.Task.erase(segment: "1-1", ranges: [blocks(0..<1)])
        #expect(table.takeTasks(everything: true) == [erasing])
        table.failed(erasing)
        #expect(table.failedCount == 1)
        #expect(table.takeTasks(everything: false).isEmpty)
        #expect(table.takeTasks(everything: true) == [erasing])
        #expect(table.failedCount == 0)
        table.erase(place(1))
        table.seal("1-1")
        let removing = SegmentTable.Task.remove(segment: "1-1")
        #expect(table.takeTasks(everything: false) == [removing])
        table.failed(removing)
        #expect(table.failedCount == 1)
        #expect(table.takeTasks(everything: false).isEmpty)
        #expect(table.takeTasks(everything: true) == [removing])
    }

    @Test("A12: a body that is being read is erased afterwards, and no new read of it begins")
    func reading() {
        let table = Table()
        table.open("1-1", isSealed: true)
        table.add(place(0))
        for _ in 1...2 { #expect(table.beginReading(place(0)) != nil) }
        table.erase(place(0))
        #expect(table.beginReading(place(0)) == nil)
        #expect(table.takeTasks(everything: true).isEmpty)
        #expect(!table.endReading(place(0)))
        #expect(table.takeTasks(everything: true).isEmpty)
        #expect(table.endReading(place(0)))
        #expect(table.takeTasks(everything: false) == [.remove(segment: "1-1")])
    }

    @Test("A9: another place's name gives no bytes")
    func strangers() {
        let table = Table()
        table.open("1-1")
        table.add(place(1))
        for stranger in [place(0), place(1, 99), place(1, 101), place(1, segment: "1-2")] {
            #expect(table.beginReading(stranger) == nil)
            table.erase(stranger)
        }
        #expect(table.beginReading(place(1)) != nil)
    }

    @Test("Many erased bytes do not wait for the upkeep")
    func limit() {
        let table = Table()
        table.open("1-1")
        let large = SegmentTable.deadLimit / 2 + SegmentPlace.block
        let places = (0..<3).map { SegmentPlace(segment: "1-1", offset: large * $0, length: large) }
        for place in places { table.add(place) }
        table.erase(places[0])
        #expect(!table.isDue)
        table.erase(places[1])
        #expect(table.isDue)
        #expect(table.takeTasks(everything: false) == [.erase(segment: "1-1", ranges: [0..<2 * large])])
        #expect(!table.isDue)
    }

    @Test("New bodies stay in memory for a while, as many as fit")
    func recent() {
        let table = Table()
        table.open("1-1")
        let size = SegmentTable.recentLimit / 2
        func isAtHand(_ number: Int64) -> Bool {
            if case .bytes? = table.beginReading(place(number * 10_000, Int64(size))) { true } else { false }
        }
        for number in 0..<3 {
            table.add(place(Int64(number) * 10_000, Int64(size)), bytes: [UInt8](repeating: 1, count: size))
        }
        #expect(isAtHand(0) && isAtHand(1) && !isAtHand(2))
        table.erase(place(0, Int64(size)))
        table.add(place(30_000, Int64(size)), bytes: [UInt8](repeating: 1, count: size))
        table.forgetOlder()
        #expect(isAtHand(1) && isAtHand(3))
        table.forgetOlder()
        #expect(!isAtHand(1) && !isAtHand(3))
    }

    @Test("The bytes of a failed write are erased, and the segment is not written again")
    func abandoned() {
        let table = Table()
        table.open("1-1")
        table.add(place(0))
        table.release("1-1", blocks(1..<5))
        #expect(table.takeTasks(everything: true) == [.erase(segment: "1-1", ranges: [blocks(1..<5)])])
        table.erase(place(0))
        #expect(table.takeTasks(everything: false) == [.remove(segment: "1-1")])
    }
}
