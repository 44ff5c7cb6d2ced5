import Core
import Foundation

/// The answers of an S3-compatible server: lists of objects, and errors. A small scanner that knows their elements and
/// the five entities of XML; everything else is passed over.
struct S3Documents {
    /// A page of `ListObjectsV2` with `encoding-type=url`.
    struct Page: Equatable {
        struct Object: Equatable {
            var key = ""
            var size: Int64 = 0
            var tag = ""
        }

        var objects: [Object] = []
        /// Where the next page begins; `nil` for the last one.
        var next: String?
    }

    /// Why a text is no such document.
    struct Malformed: Error {}

    static func page(_ text: String) throws -> Page {
        var page = Page()
        var object: Page.Object?
        var isTruncated = false
        var hasRoot = false
        try scan(text) { path, value in
            switch (path.last, value) {
            case ("ListBucketResult"?, nil): hasRoot = true
            case ("Contents"?, nil): object = Page.Object()
            case ("/Contents"?, nil):
                if let object { page.objects.append(object) }
                object = nil
            case ("Key"?, let value?): object?.key = decoded(value)
            case ("Size"?, let value?): object?.size = Int64(value) ?? 0
            case ("ETag"?, let value?): object?.tag = value
            case ("IsTruncated"?, let value?): isTruncated = value == "true"
            case ("NextContinuationToken"?, let value?): page.next = value
            default: break
            }
        }
        guard hasRoot else { throw Malformed() }
        if !isTruncated { page.next = nil }
        return page
    }

    /// `Code: Message` of an error; empty for another text.
    static func error(_ text: String) -> String {
        var parts: [String] = []
        try? scan(text) { path, value in
            guard let value, path.last == "Code" || path.last == "Message" else { return }
            parts.append(value)
        }
        return String(parts.joined(separator: ": ").prefix(300))
    }

    /// The key as it is: with `encoding-type=url`, a plus is a space.
    private static func decoded(_ text: String) -> String {
        text.replacingOccurrences(of: "+", with: " ").removingPercentEncoding ?? text
    }

    /// Calls `take` with the open elements and, at the end of an element that contains only text, with the text. The
    /// begin and the end of every element come with no text; the last name of an end begins with a slash.
    private static func scan(_ text: String, _ take: ([String], String?) -> Void) throws {
        var rest = text[...]
        var path: [String] = []
        var content = ""
        var isLeaf = false
        while let start = rest.firstIndex(of: "<") {
            content += unescaped(rest[..<start])
            rest = rest[rest.index(after: start)...]
            if rest.hasPrefix("!--") {
                guard let end = rest.firstRange(of: "-->") else { throw Malformed() }
                rest = rest[end.upperBound...]
                continue
            }
            guard let end = rest.firstIndex(of: ">") else { throw Malformed() }
            let tag = rest[..<end]
            rest = rest[rest.index(after: end)...]
            if tag.hasPrefix("?") || tag.hasPrefix("!") { continue }
            let name = tag.drop { $0 == "/" }.prefix { !$0.isWhitespace && $0 != "/" }
            if tag.hasPrefix("/") {
                guard path.last == String(name) else { throw Malformed() }
                if isLeaf { take(path, content) }
                take(path.dropLast() + ["/\(name)"], nil)
                path.removeLast()
                isLeaf = false
            } else {
                guard path.count < 16 else { throw Malformed() }
                path.append(String(name))
                take(path, nil)
                isLeaf = !tag.hasSuffix("/")
                if tag.hasSuffix("/") {
                    take(path.dropLast() + ["/\(name)"], nil)
                    path.removeLast()
                }
            }
            content = ""
        }
        guard path.isEmpty else { throw Malformed() }
    }

    private static func unescaped(_ text: Substring) -> String {
        guard text.contains("&") else { return String(text) }
        var result = ""
        var rest = text
        while let start = rest.firstIndex(of: "&") {
            result += rest[..<start]
            rest = rest[rest.index(after: start)...]
            guard let end = rest.firstIndex(of: ";") else { return result + "&" + rest }
            let name = rest[..<end]
            rest = rest[rest.index(after: end)...]
            switch name {
            case "amp": result += "&"
            case "lt": result += "<"
            case "gt": result += ">"
            case "quot": result += "\""
            case "apos": result += "'"
            default:
                let number =
                    name.hasPrefix("#x") ? UInt32(name.dropFirst(2), radix: 16) : UInt32(name.dropFirst(1))
                if name.hasPrefix("#"), let scalar = number.flatMap(Unicode.Scalar.init) {
                    result.unicodeScalars.append(scalar)
                } else {
                    result += "&\(name);"
                }
            }
        }
        return result + rest
    }
}
