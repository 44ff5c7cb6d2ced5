import Glibc
import PodInitProtocol

/// Why something was not done; goes to the platform as it is.
struct Failure: Error {
    let refusal: Refusal
    let message: String

    init(_ refusal: Refusal, _ message: String) {
        self.refusal = refusal
        self.message = message
    }
}

/// The system's text for an error number.
func errorText(_ number: CInt) -> String { String(cString: strerror(number)) }

/// Writes a line to standard error; `PodInit` has no other place for what stops it.
func writeError(_ text: String) {
    var line = Array(("cortex-pod-init: " + text + "\n").utf8)
    _ = write(2, &line, line.count)
}
