import Core
import Synchronization

/// What cannot be read back from the engine. After a restart it is gone, and then the report of an exit is less exact.
final class EngineState: Sendable {
    /// What `setUp` found or made.
    struct Platform: Sendable, Hashable {
        /// The id of the image.
        var podInitImage: String
        /// `uid:gid` of our own processes in containers.
        var user: String
        var isRootless = false
        /// The system call filter of users' containers: the profile for Docker, its path for Podman; `nil` on an
        /// architecture that the platform has none for.
        var filter: String?
        /// The addresses of pods.
        var subnet: IPv4Subnet
    }

    private struct State {
        var platform: Platform?
        /// Containers that the platform stopped: their exit by SIGKILL says nothing about memory.
        var stopped: Set<String> = []
        /// Pods whose containers are not all made yet.
        var starting: Set<String> = []
        /// Commands that run in a pod now, and what ends each.
        var commands: [String: [Int: @Sendable () -> Void]] = [:]
        var nextCommand = 0
        /// Objects of others that were named in the log.
        var foreign: Set<String> = []
        /// Ids of images by the names under which they were prepared.
        var images: [String: String] = [:]
    }

    private let state = Mutex(State())

    var platform: Platform? {
        get { state.withLock { $0.platform } }
        set { state.withLock { $0.platform = newValue } }
    }

    func noteStopped(_ container: String) { state.withLock { _ = $0.stopped.insert(container) } }
    func noteStarted(_ container: String) { state.withLock { _ = $0.stopped.remove(container) } }
    func wasStopped(_ container: String) -> Bool { state.withLock { $0.stopped.contains(container) } }

    /// Whether a foreign object is seen for the first time. After 1,000 of them, further ones are not reported.
    func noteForeign(_ id: String) -> Bool {
        state.withLock { $0.foreign.count < 1000 && $0.foreign.insert(id).inserted }
    }

    func noteImage(_ name: String, id: String) { state.withLock { $0.images[name] = id } }
    /// The image to make a container from: what was examined, also when the name was given to another one since.
    func image(_ name: String) -> String { state.withLock { $0.images[name] ?? name } }

    func beginStart(_ pod: String) { state.withLock { _ = $0.starting.insert(pod) } }
    func endStart(_ pod: String) { state.withLock { _ = $0.starting.remove(pod) } }
    func isStarting(_ pod: String) -> Bool { state.withLock { $0.starting.contains(pod) } }

    func addCommand(pod: String, cancel: @escaping @Sendable () -> Void) -> Int {
        state.withLock { state in
            state.nextCommand += 1
            state.commands[pod, default: [:]][state.nextCommand] = cancel
            return state.nextCommand
        }
    }

    func removeCommand(pod: String, _ id: Int) {
        state.withLock { state in
            state.commands[pod]?[id] = nil
            if state.commands[pod]?.isEmpty == true { state.commands[pod] = nil }
        }
    }

    func cancelCommands(pod: String) {
        let cancels = state.withLock { Array(($0.commands[pod] ?? [:]).values) }
        for cancel in cancels { cancel() }
    }

    func hasCommands(pod: String) -> Bool { state.withLock { $0.commands[pod] != nil } }
}
