/// The elements of a sequence, asynchronously: what a streamed request body takes.
struct AsyncPieces<Element: Sendable>: AsyncSequence, Sendable {
    let elements: [Element]

    struct AsyncIterator: AsyncIteratorProtocol {
        var rest: ArraySlice<Element>
        mutating func next() async -> Element? { rest.popFirst() }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(rest: elements[...]) }
}

extension Array where Element: Sendable {
    var async: AsyncPieces<Element> { AsyncPieces(elements: self) }
}
