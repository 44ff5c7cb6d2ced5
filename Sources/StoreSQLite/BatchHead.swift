import Core
import Foundation

/// The place of a batch in its job, as the head of its payload: a version byte, the index and the ranges of items (64
/// bits each, big endian). A ``RequestHead`` has another version.
struct BatchHead: Equatable {
    var place: BatchPlace

    private static let version: UInt8 = 2

    init(_ place: BatchPlace) { self.place = place }

    init(decoding bytes: UnsafeRawBufferPointer) throws {
        guard bytes.count >= 9, bytes[0] == Self.version else { throw RequestHead.Damaged() }
        let index = Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: Int64.self))
        let items = try ItemSet(decodingRanges: UnsafeRawBufferPointer(rebasing: bytes[9...]))
        place = BatchPlace(index: index, items: items)
    }

    init(decoding data: Data) throws {
        self = try data.withUnsafeBytes { try BatchHead(decoding: $0) }
    }

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(9 + place.items.ranges.count * 16)
        bytes.append(Self.version)
        withUnsafeBytes(of: place.index.bigEndian) { bytes.append(contentsOf: $0) }
        place.items.appendRanges(to: &bytes)
        return bytes
    }
}

extension ItemSet {
    /// Reads first index and end of each range.
    init(decodingRanges bytes: UnsafeRawBufferPointer) throws {
        guard bytes.count % 16 == 0 else { throw RequestHead.Damaged() }
        var ranges: [Range<Int64>] = []
        ranges.reserveCapacity(bytes.count / 16)
        for offset in stride(from: 0, to: bytes.count, by: 16) {
            let first = Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int64.self))
            let end = Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: Int64.self))
            guard first < end else { throw RequestHead.Damaged() }
            ranges.append(first..<end)
        }
        guard let items = ItemSet(ranges: ranges) else { throw RequestHead.Damaged() }
        self = items
    }

    func appendRanges(to bytes: inout [UInt8]) {
        for range in ranges {
            withUnsafeBytes(of: (range.lowerBound.bigEndian, range.upperBound.bigEndian)) {
                bytes.append(contentsOf: $0)
            }
        }
    }
}

/// What a row of a ``BodyLog`` belongs to, written in its column `id`. The ids of requests begin with a time, so they
/// are larger.
enum LogOwner {
    case request(RequestID)
    /// Of the job with the row's `api`: its submission or its changing part.
    case job
    case outcome(line: Int64)
    case run(number: Int64)
    case file(number: Int64)

    init(_ id: RequestID) {
        switch id.high {
        case 0: self = .job
        case 1: self = .outcome(line: Int64(bitPattern: id.low))
        case 2: self = .run(number: Int64(bitPattern: id.low))
        case 3: self = .file(number: Int64(bitPattern: id.low))
        default: self = .request(id)
        }
    }

    var id: RequestID {
        switch self {
        case .request(let id): id
        case .job: RequestID(high: 0, low: 0)
        case .outcome(let line): RequestID(high: 1, low: UInt64(bitPattern: line))
        case .run(let number): RequestID(high: 2, low: UInt64(bitPattern: number))
        case .file(let number): RequestID(high: 3, low: UInt64(bitPattern: number))
        }
    }
}
