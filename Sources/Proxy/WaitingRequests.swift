import Core

/// The requests that wait at one gate, in several lists. Each list is in order of arrival. Adding, removing and moving
/// one request takes constant time, wherever it stands; no memory is allocated once the arrays are large enough.
struct WaitingRequests: Sendable {
    struct Entry: Sendable {
        let waiter: any GateWaiter
        /// Counts the arrivals.
        let order: Int
        /// What the sticky requests of one caller have in common (contract R22).
        var key: UInt64?
        /// Until when the request waits only for the replica of its key; `nil` before there was one.
        var deadline: Instant?
        fileprivate(set) var list: Int
        fileprivate var previous = none
        fileprivate var next = none
    }

    private struct List {
        var first = none
        var last = none
    }

    private static let none = -1

    /// `nil`: free, and listed in `free`.
    private var entries: [Entry?] = []
    private var free: [Int] = []
    private var positions: [ObjectIdentifier: Int] = [:]
    private var lists: [List] = []
    private var freeLists: [Int] = []
    private var arrivals = 0

    var count: Int { positions.count }

    // MARK: Lists

    mutating func makeList() -> Int {
        if let list = freeLists.popLast() { return list }
        lists.append(List())
        return lists.count - 1
    }

    /// Releases an empty list.
    mutating func removeList(_ list: Int) { freeLists.append(list) }

    /// The position of the first request in a list.
    func first(of list: Int) -> Int? {
        let first = lists[list].first
        return first == Self.none ? nil : first
    }

    /// The position of the request behind another one in its list.
    func next(after position: Int) -> Int? {
        guard let next = entries[position]?.next, next != Self.none else { return nil }
        return next
    }

    // MARK: Requests

    subscript(position: Int) -> Entry? { entries[position] }

    func order(at position: Int) -> Int { entries[position]?.order ?? .max }

    mutating func append(_ waiter: any GateWaiter, key: UInt64?, deadline: Instant?, to list: Int) {
        arrivals += 1
        let entry = Entry(waiter: waiter, order: arrivals, key: key, deadline: deadline, list: list)
        let position: Int
        if let reused = free.popLast() {
            position = reused
            entries[position] = entry
        } else {
            position = entries.count
            entries.append(entry)
        }
        positions[ObjectIdentifier(waiter)] = position
        link(position, into: list)
    }

    /// Removes a request.
    ///
    /// - Returns: its waiter; `nil` when nothing waits at this position.
    @discardableResult
    mutating func remove(at position: Int) -> (any GateWaiter)? {
        guard let waiter = entries[position]?.waiter else { return nil }
        unlink(position)
        entries[position] = nil
        free.append(position)
        positions[ObjectIdentifier(waiter)] = nil
        return waiter
    }

    /// - Returns: the list that the request was in; `nil` when it does not wait.
    mutating func remove(_ waiter: any GateWaiter) -> Int? {
        guard let position = positions[ObjectIdentifier(waiter)] else { return nil }
        let list = entries[position]?.list
        remove(at: position)
        return list
    }

    /// Moves a request to another list, where it stands by its arrival.
    mutating func move(_ position: Int, to list: Int, deadline: Instant?) {
        unlink(position)
        entries[position]?.deadline = deadline
        link(position, into: list)
    }

    /// The positions of all requests in a list, in order of arrival.
    func positions(in list: Int) -> [Int] {
        var found: [Int] = []
        var position = first(of: list)
        while let current = position {
            found.append(current)
            position = next(after: current)
        }
        return found
    }

    /// - Returns: the waiters in order of arrival.
    mutating func removeAll() -> [any GateWaiter] {
        let all = entries.compactMap { $0 }.sorted { $0.order < $1.order }
        entries = []
        free = []
        positions = [:]
        for list in lists.indices { lists[list] = List() }
        return all.map(\.waiter)
    }

    // MARK: Links

    /// The search for the place begins at the end, where nearly every request belongs.
    private mutating func link(_ position: Int, into list: Int) {
        let order = order(at: position)
        var previous = lists[list].last
        while previous != Self.none, let entry = entries[previous], entry.order > order { previous = entry.previous }
        let next: Int
        if previous == Self.none {
            next = lists[list].first
            lists[list].first = position
        } else {
            next = entries[previous]?.next ?? Self.none
            entries[previous]?.next = position
        }
        if next == Self.none { lists[list].last = position } else { entries[next]?.previous = position }
        entries[position]?.previous = previous
        entries[position]?.next = next
        entries[position]?.list = list
    }

    private mutating func unlink(_ position: Int) {
        guard let entry = entries[position] else { return }
        if entry.previous == Self.none {
            lists[entry.list].first = entry.next
        } else {
            entries[entry.previous]?.next = entry.next
        }
        if entry.next == Self.none {
            lists[entry.list].last = entry.previous
        } else {
            entries[entry.next]?.previous = entry.previous
        }
    }
}
