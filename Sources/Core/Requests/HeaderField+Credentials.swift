extension HeaderField {
    /// Whether the field carries the caller's credential: such fields of a failed request are erased at once, also while its payload
    /// is kept for `cortex retry` (contract A12).
    package var carriesCredential: Bool {
        switch name.lowercased() {
        case "authorization", "cookie", "proxy-authorization": true
        default: false
        }
    }
}
