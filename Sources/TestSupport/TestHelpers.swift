package import Foundation
package import Testing

/// Waits until `condition` holds, looking again as soon as other tasks have run, and gives up after `timeout` of real
/// time.
///
/// For state that offers no event to await; where there is an event, await that.
package func eventually(
    within timeout: Duration = .seconds(20), _ condition: @Sendable () async throws -> Bool
) async throws -> Bool {
    let clock = ContinuousClock()
    let deadline = clock.now.advanced(by: timeout)
    while clock.now < deadline {
        if try await condition() { return true }
        try await clock.sleep(for: .milliseconds(5))
    }
    return try await condition()
}

/// Expects that `condition` comes to hold, as ``eventually(within:_:)`` waits for it.
///
/// Closures that stand inside the arguments of `#expect` can be mistaken for one another by the compiler (Swift 6.3);
/// here they stand outside.
package func expectEventually(
    within timeout: Duration = .seconds(20), _ comment: @autoclosure () -> String = "it never came to hold",
    sourceLocation: SourceLocation = #_sourceLocation, _ condition: @Sendable () async throws -> Bool
) async throws {
    if try await eventually(within: timeout, condition) { return }
    Issue.record(Comment(rawValue: comment()), sourceLocation: sourceLocation)
}

/// Runs `body` with a new empty folder, which is removed afterwards, whatever happens.
package func withTemporaryDirectory<Result>(
    _ body: (URL) async throws -> Result
) async throws -> Result {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("cx-\(UInt32.random(in: .min ... .max))")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: url) }
    return try await body(url)
}
