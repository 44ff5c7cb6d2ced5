/// Waits until `condition` holds, looking again as soon as other tasks have run, and gives up after `timeout` of real time.
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
