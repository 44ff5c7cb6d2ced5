import Core

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A program that was started. Nothing of ours is open in it but its three standard descriptors, and its end is its
/// own: what it may have started in turn is not waited for.
package struct SpawnedProcess: Sendable, Hashable {
    package let id: CInt

    /// Starts `/usr/bin/env arguments…`, so that the first word is found along the `PATH` of `environment`.
    ///
    /// - Throws: `setup` when not even that can be started.
    package static func start(
        _ arguments: [String], environment: [String: String], input: CInt, output: CInt, errors: CInt
    ) throws -> SpawnedProcess {
        #if canImport(Darwin)
            var actions: posix_spawn_file_actions_t?
        #else
            var actions = posix_spawn_file_actions_t()
        #endif
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (descriptor, target) in [(input, CInt(0)), (output, 1), (errors, 2)] {
            posix_spawn_file_actions_adddup2(&actions, descriptor, target)
        }
        // Descriptors that are open at this moment and not marked to be closed; a missing one is passed over.
        for descriptor in openDescriptors() { posix_spawn_file_actions_addclose(&actions, descriptor) }
        let words = (["env"] + arguments).map { strdup($0) }
        let variables = environment.sorted { $0.key < $1.key }.map { strdup("\($0.key)=\($0.value)") }
        defer { for pointer in words + variables { free(pointer) } }
        var id: pid_t = 0
        let failure = posix_spawn(&id, "/usr/bin/env", &actions, nil, words + [nil], variables + [nil])
        guard failure == 0 else {
            throw PlatformError(.setup, "A program can't be started: \(String(cString: strerror(failure))).")
        }
        return SpawnedProcess(id: id)
    }

    private static func openDescriptors() -> [CInt] {
        guard let folder = opendir("/proc/self/fd") ?? opendir("/dev/fd") else { return [] }
        defer { closedir(folder) }
        var found: [CInt] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let descriptor = CInt(name), descriptor > 2 { found.append(descriptor) }
        }
        return found
    }

    /// Waits for its end, at most `seconds`; blocks the thread. Once it has ended it must not be asked again.
    ///
    /// - Returns: the exit status, 128 + signal when a signal ended it, `nil` when it still runs.
    package func wait(seconds: Double) -> Int? {
        var waited = 0.0
        while true {
            var status: CInt = 0
            let result = waitpid(id, &status, WNOHANG)
            if result == id { return status & 0x7F == 0 ? Int(status >> 8 & 0xFF) : 128 + Int(status & 0x7F) }
            if result < 0, errno != EINTR { return 127 }
            guard waited < seconds else { return nil }
            usleep(5000)
            waited += 0.005
        }
    }

    /// SIGKILL. Its end is still to be waited for.
    package func end() {
        kill(id, SIGKILL)
    }
}
