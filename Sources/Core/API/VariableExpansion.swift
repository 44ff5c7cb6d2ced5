/// `$(NAME)` in a container's command and arguments (contract C9), by the rules of Kubernetes.
///
/// `$(NAME)` becomes the variable's value, an unknown name stays as it is, `$$` is one `$` (so `$$(NAME)` is the text `$(NAME)`), and what was put in is not looked at again.
package enum VariableExpansion {
    package static func expand(_ text: String, with variables: [String: String]) -> String {
        let dollar = UInt8(ascii: "$")
        let bytes = Array(text.utf8)
        var output: [UInt8] = []
        var position = 0
        // Where no parenthesis closes, none closes further on either: the rest is not searched again.
        var mayClose = true
        while position < bytes.count {
            guard bytes[position] == dollar, position + 1 < bytes.count else {
                output.append(bytes[position])
                position += 1
                continue
            }
            switch bytes[position + 1] {
            case dollar:
                output.append(dollar)
                position += 2
            case UInt8(ascii: "("):
                guard mayClose, let end = bytes[(position + 2)...].firstIndex(of: UInt8(ascii: ")")) else {
                    mayClose = false
                    output += bytes[position...(position + 1)]
                    position += 2
                    continue
                }
                let name = String(decoding: bytes[(position + 2)..<end], as: UTF8.self)
                output += variables[name].map { Array($0.utf8) } ?? Array(bytes[position...end])
                position = end + 1
            default:
                output += bytes[position...(position + 1)]
                position += 2
            }
        }
        return String(decoding: output, as: UTF8.self)
    }
}
