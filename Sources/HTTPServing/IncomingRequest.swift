package import NIOHTTP1

/// A request's head, as the caller sent it.
package struct IncomingRequest: Sendable {
    package let method: HTTPMethod
    /// The path, from its first `/`, without the query; percent-encoding is as sent.
    package let path: String
    /// What follows the first `?`, as sent; `nil` if there was none.
    package let query: String?
    package let headers: HTTPHeaders
    /// Whether the caller is still there.
    package let caller: CallerPresence

    /// Splits the target; one in absolute form (as proxies get it) loses scheme and host.
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
