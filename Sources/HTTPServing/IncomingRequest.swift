package import Core
package import NIOCore
package import NIOHTTP1
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A request's head, as the caller sent it.
package struct IncomingRequest: Sendable {
    package let method: HTTPMethod
    /// The path, from its first `/`, without the query; percent-encoding is as sent.
    package let path: String
    /// What follows the first `?`, as sent; `nil` if there was none.
    package let query: String?
    package let headers: HTTPHeaders
    /// Whether the caller can still send and be answered.
    package let caller: CallerPresence

    /// Splits the target. Scheme and host of one in absolute form, as sent to proxies, are removed.
    init(head: HTTPRequestHead, caller: CallerPresence) {
        var target = head.uri[...]
        if !target.hasPrefix("/"), let scheme = target.firstRange(of: "://") {
            let rest = target[scheme.upperBound...]
            target = rest.firstIndex { $0 == "/" || $0 == "?" }.map { rest[$0...] } ?? ""
        }
        let mark = target.utf8.firstIndex(of: UInt8(ascii: "?"))
        let path = mark.map { target[..<$0] } ?? target
        self.method = head.method
        self.path = path.isEmpty ? "/" : String(path)
        self.query = mark.map { String(target[target.index(after: $0)...]) }
        self.headers = head.headers
        self.caller = caller
    }

    /// The values of a header in the caller's order, without the white space around them.
    package func values(_ name: String) -> [String] {
        headers[name].map(HeaderValue.trimmed)
    }

    /// The only value of a header, or `nil` when there are none or several.
    package func header(_ name: String) -> String? {
        let values = values(name)
        return values.count == 1 ? values[0] : nil
    }

    /// The query's parameters, decoded, in the caller's order. A name without `=` has an empty value.
    package var parameters: [(name: String, value: String)] {
        guard let query else { return [] }
        return query.split(separator: "&").map { item in
            guard let equals = item.firstIndex(of: "=") else { return (PercentCoding.decodeForm(item), "") }
            return (
                PercentCoding.decodeForm(item[..<equals]), PercentCoding.decodeForm(item[item.index(after: equals)...])
            )
        }
    }

    /// The first value of a query parameter.
    package func parameter(_ name: String) -> String? {
        // Most requests have no query: nothing is decoded for them.
        query == nil ? nil : parameters.first { $0.name == name }?.value
    }
}

/// A request's body, read piece by piece; one task at a time. Reading is what asks a caller that sent `Expect:
/// 100-continue` for its body.
package struct IncomingBody {
    /// What `Content-Length` says; `nil` for a chunked body; 0 for none.
    package let declaredLength: Int64?
    /// Whether all of it was read.
    package private(set) var isComplete = false
    /// Whether the caller waits for `100 Continue` before it sends it.
    private(set) var awaitsContinue: Bool
    /// Whether the rest of it cannot be read: it is broken, too slow or refused.
    private(set) var isBroken = false
    private let connection: ConnectionHandle

    init(head: HTTPRequestHead, connection: ConnectionHandle) {
        self.connection = connection
        if let length = head.headers.first(name: "content-length") {
            self.declaredLength = Int64(HeaderValue.trimmed(length))
        } else {
            self.declaredLength = head.headers.contains(name: "transfer-encoding") ? nil : 0
        }
        self.awaitsContinue = head.headers.contains(name: "expect") && !head.version.isBefore11
    }

    /// The next piece; `nil` at the end.
    ///
    /// - Throws: ``CallerGone``; ``HTTPFault`` for broken chunks, a body that arrives too slowly, or too many bodies in
    ///   memory.
    package nonisolated(nonsending) mutating func next() async throws -> ByteBuffer? {
        guard !isComplete else { return nil }
        if awaitsContinue {
            awaitsContinue = false
            if declaredLength != 0 {
                try await connection.writeContinue()
            }
        }
        do {
            while let part = try await connection.next() {
                switch part {
                case .body(let bytes):
                    if bytes.readableBytes > 0 { return bytes }
                case .end:
                    isComplete = true
                    return nil
                case .head:
                    throw PlatformError(.internal, "a request began inside another")
                }
            }
        } catch let fault as HTTPFault {
            isBroken = true
            throw fault
        }
        throw CallerGone()
    }

    /// Declares that the last `count` bytes that were read are not in memory any more, so that other bodies may take
    /// the memory. The rest is released when the handler returns.
    package func release(_ count: Int) { connection.release(count) }

    /// The whole body.
    ///
    /// - Throws: ``PlatformError`` `payload_too_large` as soon as it is known to have more than `limit` bytes.
    package mutating func collect(upTo limit: Int) async throws -> ByteBuffer {
        if let declaredLength, declaredLength > limit { throw Self.tooLarge(limit: Int64(limit)) }
        guard let first = try await next() else { return ByteBuffer() }
        var all = first
        while let piece = try await next() {
            guard all.readableBytes + piece.readableBytes <= limit else { throw Self.tooLarge(limit: Int64(limit)) }
            all.writeImmutableBuffer(piece)
        }
        guard all.readableBytes <= limit else { throw Self.tooLarge(limit: Int64(limit)) }
        return all
    }

    /// The error for a body of more than `limit` bytes.
    package static func tooLarge(limit: Int64) -> PlatformError {
        PlatformError(.payloadTooLarge, "the body has more than the \(limit) bytes that are allowed here")
    }
}

/// Whether the caller at the other end of a connection can still send, and whether it can still be answered.
///
/// A caller that has closed its sending side may still read an answer (contract A5). Until something is written to it,
/// it cannot be distinguished from one that has closed both sides. Safe from any thread.
package final class CallerPresence: Sendable {
    private struct Action {
        let id: Int
        let isForEndOfInput: Bool
        let run: @Sendable () -> Void
    }

    private struct State {
        var isGone = false
        var hasFinished = false
        var isLeaving = false
        var next = 0
        /// Rarely more than one.
        var actions: [Action] = []
    }

    private let state = Mutex(State())

    package init() {}

    /// Whether the connection is closed: no answer can reach the caller.
    package var isGone: Bool { state.withLock { $0.isGone } }

    /// Whether the caller has closed its sending side, or the connection.
    package var hasFinished: Bool { state.withLock { $0.hasFinished } }

    /// Whether this server is shutting down and closes the connection after the present answer.
    var isLeaving: Bool { state.withLock { $0.isLeaving } }

    /// Runs `action` once when the connection is closed; at once if it is. It must not block.
    ///
    /// - Returns: the argument for ``forget(_:)``.
    package func onGone(_ action: @escaping @Sendable () -> Void) -> Int {
        add(action, isForEndOfInput: false)
    }

    /// Runs `action` once when the caller closes its sending side or the connection; at once if it has. It must not
    /// block.
    ///
    /// For answers that could wait without end: a caller that has finished gets the present state.
    ///
    /// - Returns: the argument for ``forget(_:)``.
    package func onEndOfInput(_ action: @escaping @Sendable () -> Void) -> Int {
        add(action, isForEndOfInput: true)
    }

    /// Removes an action that has not run, by the number that adding it returned.
    package func forget(_ id: Int) {
        state.withLock { state in state.actions.removeAll { $0.id == id } }
    }

    func leave() {
        state.withLock { $0.isLeaving = true }
    }

    /// The caller closed its sending side.
    func finish() {
        let actions = state.withLock { state -> [Action] in
            state.hasFinished = true
            let due = state.actions.filter(\.isForEndOfInput)
            state.actions.removeAll(where: \.isForEndOfInput)
            return due
        }
        for action in actions { action.run() }
    }

    /// The connection is closed.
    func goAway() {
        let actions = state.withLock { state -> [Action] in
            state.hasFinished = true
            state.isGone = true
            defer { state.actions = [] }
            return state.actions
        }
        for action in actions { action.run() }
    }

    private func add(_ action: @escaping @Sendable () -> Void, isForEndOfInput: Bool) -> Int {
        let (id, isDue) = state.withLock { state -> (Int, Bool) in
            state.next += 1
            let isDue = isForEndOfInput ? state.hasFinished : state.isGone
            if !isDue { state.actions.append(Action(id: state.next, isForEndOfInput: isForEndOfInput, run: action)) }
            return (state.next, isDue)
        }
        if isDue { action() }
        return id
    }
}

/// The caller closed the connection before it had sent its request. There is no caller left to answer.
package struct CallerGone: Error, Sendable {
    package init() {}
}

/// Values of header fields as they come from the parser.
package enum HeaderValue {
    /// A value without the spaces and tabs around it, which do not belong to it (RFC 9110 §5.5). The parser leaves
    /// those at the end.
    package static func trimmed(_ value: String) -> String {
        guard let first = value.utf8.first, let last = value.utf8.last, isSpace(first) || isSpace(last) else {
            return value
        }
        var text = value[...]
        while let first = text.utf8.first, isSpace(first) { text.removeFirst() }
        while let last = text.utf8.last, isSpace(last) { text.removeLast() }
        return String(text)
    }

    /// Whether a field's name is this one, written in lower case.
    static func isName(_ name: String, _ known: StaticString) -> Bool {
        var name = name
        return name.withUTF8 { bytes in
            guard bytes.count == known.utf8CodeUnitCount else { return false }
            for index in 0..<bytes.count {
                let byte = bytes[index]
                let lower = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
                guard lower == known.utf8Start[index] else { return false }
            }
            return true
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}

extension String {
    /// Whether the text has this byte. Several times as fast as `utf8.contains`, which goes from index to index.
    package func contains(byte: UInt8) -> Bool {
        utf8.withContiguousStorageIfAvailable { $0.has(byte) } ?? utf8.contains(byte)
    }
}

extension UnsafeBufferPointer<UInt8> {
    fileprivate func has(_ byte: UInt8) -> Bool {
        guard let baseAddress else { return false }
        return memchr(baseAddress, Int32(byte), count) != nil
    }
}

extension Substring {
    /// Whether the text has this byte. Several times as fast as `utf8.contains`, which goes from index to index.
    package func contains(byte: UInt8) -> Bool {
        utf8.withContiguousStorageIfAvailable { $0.has(byte) } ?? utf8.contains(byte)
    }
}

/// Percent-encoding of paths and queries (RFC 3986).
package enum PercentCoding {
    /// Decodes every `%XX`; `nil` where one is broken or the bytes are not UTF-8.
    ///
    /// Not generic: every request to an endpoint calls it, and the compiler does not specialize it for other modules.
    package static func decode(_ text: Substring) -> String? {
        guard text.contains(byte: UInt8(ascii: "%")) else { return String(text) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        var iterator = text.utf8.makeIterator()
        while let byte = iterator.next() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = iterator.next().flatMap(digit), let low = iterator.next().flatMap(digit) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// Decodes a part of a query, where `+` is a space. A part with a broken `%XX` stays as it is.
    package static func decodeForm(_ text: Substring) -> String {
        let spaced = String(text.map { $0 == "+" ? " " : $0 })
        return decode(spaced[...]) ?? spaced
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - 48
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - 87
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - 55
        default: nil
        }
    }
}
