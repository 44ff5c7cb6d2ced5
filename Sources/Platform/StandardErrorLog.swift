import Core
import Foundation
package import Logging
import Support

/// The log of `cortex up`: one line per event on standard error. It never waits for the reader: lines beyond the buffer
/// are dropped and counted (``BoundedWriter``).
package struct StandardErrorLog: LogHandler {
    package var logLevel = Logger.Level.info
    package var metadata = Logger.Metadata()
    let label: String
    var output = BoundedWriter.standardError
    var clock: any PlatformClock = SystemClock()

    package init(label: String) {
        self.label = label
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var metadata = metadata.merging(event.metadata ?? [:]) { $1 }
        if let error = event.error { metadata["error"] = "\(error.safeDescription)" }
        let pairs = metadata.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
        output.write(
            "\(Self.line("\(clock.now().rfc3339) \(event.level) \(label):\(pairs) [\(event.source)] \(event.message)"))\n"
        )
    }

    /// One line, without control characters: text of a container must not look like another event or control a
    /// terminal.
    private static func line(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 }) else { return text }
        var line = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": line += "\\n"
            case "\t": line += "\t"
            case _ where scalar.value < 32 || scalar.value == 127: line += "\\u{\(String(scalar.value, radix: 16))}"
            default: line.unicodeScalars.append(scalar)
            }
        }
        return line
    }
}
