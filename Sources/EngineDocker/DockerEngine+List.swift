package import Core
import Foundation
import Logging
import PodInitClient
import Support

extension DockerEngine {
    /// A container that this platform made, as the engine shows it.
    struct Listed: Sendable {
        var id: String
        var role: Labels.Role
        var labels: [String: String]
        /// The state by the engine's name for it, in lower case.
        var state: String

        /// Whether it has processes.
        var isLive: Bool { ["running", "paused", "restarting", "stopping"].contains(state) }
        /// Made, and never started. (`configured` and `initialized` are Podman's.)
        var isCreated: Bool { ["created", "configured", "initialized"].contains(state) }
    }

    /// Every container that this platform made, and how many others could not be read, so may be its own as well.
    ///
    /// What carries the platform's labels without its proof is named once in the log and left alone.
    func ownContainers() async throws -> (own: [Listed], leftOut: Int) {
        let found = try await client.containers(labels: [names.filter])
        if found.leftOut > 0, state.noteForeign("left out") {
            logger.warning(
                "the engine lists containers with descriptions that are too large; they are passed over",
                metadata: ["count": "\(found.leftOut)"])
        }
        var own: [Listed] = []
        for summary in found.objects {
            let name = (summary.names ?? []).map { $0.hasPrefix("/") ? String($0.dropFirst()) : $0 }
            if let container = try await owned(summary.id, names: name, labels: summary.labels ?? [:], summary.state) {
                own.append(container)
            }
        }
        return (own, found.leftOut)
    }

    /// `nil` for a container that this platform did not make.
    private func owned(
        _ id: String, names: [String], labels: [String: String], _ state: String?
    ) async throws -> Listed? {
        var isOwn = names.contains { ownership.holds(labels, name: $0) }
        if !isOwn { isOwn = try await isOfEarlierVersion(names: names, labels: labels) }
        guard isOwn, let role = labels[Labels.role].flatMap(Labels.Role.init(rawValue:)) else {
            if self.state.noteForeign(id) {
                logger.warning(
                    "a container has labels of this platform, which did not make it; it is left alone",
                    metadata: ["container": "\((names.first ?? id).prefix(200))"])
            }
            return nil
        }
        return Listed(id: id, role: role, labels: labels, state: state?.lowercased() ?? "")
    }

    /// Containers of versions that made no proofs are taken over only if name and labels agree and the pod's folder is
    /// in the data directory, with the pod's id in a file that only the platform can write.
    private func isOfEarlierVersion(names: [String], labels: [String: String]) async throws -> Bool {
        guard labels[Labels.proof] == nil, labels[Labels.installation] == configuration.installationID,
            let pod = labels[Labels.pod], let folder = PodFolder(pods: podsFolder, id: pod)
        else { return false }
        let expected =
            switch labels[Labels.role].flatMap(Labels.Role.init(rawValue:)) {
            case .podInit: self.names.podInit(pod)
            case .member: self.names.member(pod, labels[Labels.container] ?? "")
            case .remover, .network, nil: ""
            }
        guard names.contains(expected) else { return false }
        return try await folder.isOfEarlierVersion(pod)
    }

    /// The containers of one pod, asked for by their names: no other container's description is in the way.
    func containers(of pod: String) async throws -> [Listed] {
        var members = try await folder(pod).recordedContainers() ?? []
        let owner = try await own(named: names.podInit(pod))
        members += (owner?.labels[Labels.containers] ?? "").split(separator: ",").map(String.init)
        return try await withThrowingTaskGroup(of: Listed?.self) { group in
            for member in Set(members) { group.addTask { try await own(named: names.member(pod, member)) } }
            var found = owner.map { [$0] } ?? []
            for try await member in group { if let member { found.append(member) } }
            return found
        }
    }

    private func own(named name: String) async throws -> Listed? {
        guard let details = try await client.container(name) else { return nil }
        let shown = details.name.map { $0.hasPrefix("/") ? String($0.dropFirst()) : $0 } ?? name
        return try await owned(
            details.id, names: [shown], labels: details.settings?.labels ?? [:], details.state?.status)
    }

    package func list() async throws -> [ObservedPod] {
        try await mapping {
            await retryRemovals()
            let listed = try await ownContainers()
            var pods = Dictionary(grouping: listed.own.filter { $0.role == .podInit || $0.role == .member }) {
                $0.labels[Labels.pod] ?? ""
            }
            if listed.leftOut > 0 {
                // One of them may belong to a pod of ours: those are known by their folders.
                for pod in try await PodFolder.names(in: podsFolder) where ResourceNames.isPodID(pod) {
                    let containers = try await containers(of: pod)
                    if !containers.isEmpty { pods[pod] = containers }
                }
            }
            return try await withThrowingTaskGroup(of: ObservedPod?.self) { group in
                for (id, containers) in pods where ResourceNames.isPodID(id) {
                    group.addTask { try await observe(id, containers) }
                }
                var observed: [ObservedPod] = []
                for try await pod in group { if let pod { observed.append(pod) } }
                return observed.sorted { $0.id < $1.id }
            }
        }
    }

    private func observe(_ id: String, _ containers: [Listed]) async throws -> ObservedPod? {
        guard let labels = containers.first?.labels else { return nil }
        let owner = containers.first { $0.role == .podInit }
        let isAlive = owner?.state == "running"
        var observed: [String: (state: ObservedContainer.State, endedAt: Timestamp?)] = [:]
        for name in owner?.labels[Labels.containers]?.split(separator: ",") ?? [] {
            observed[String(name)] = (.created, nil)
        }
        let podEnd = isAlive ? nil : try await end(of: owner)
        for member in containers where member.role == .member {
            guard let name = member.labels[Labels.container] else { continue }
            var seen = try await observe(member)
            // The engine gives a time also to what it ended itself together with the pod, in any order.
            if !isAlive, let end = seen.endedAt, podEnd.map({ end + Self.podEndSpan >= $0 }) ?? true {
                seen.endedAt = nil
            }
            observed[name] = seen
        }
        let order = owner?.labels[Labels.containers]?.split(separator: ",").map(String.init) ?? []
        let sorted = observed.sorted {
            (order.firstIndex(of: $0.key) ?? .max, $0.key) < (order.firstIndex(of: $1.key) ?? .max, $1.key)
        }
        // Its other containers may still run and keep its network, but nothing connects to them any more.
        if !isAlive { sockets.forget(id) }
        return ObservedPod(
            id: id, owner: Labels.owner(in: labels),
            createdAt: Timestamp(microseconds: labels[Labels.createdAt].flatMap { Int64($0) } ?? 0),
            isAlive: isAlive,
            containers: sorted.map {
                ObservedContainer(name: $0.key, state: $0.value.state, endedAt: $0.value.endedAt)
            })
    }

    /// The list has no exit code, so what has ended is inspected.
    private func observe(_ member: Listed) async throws -> (state: ObservedContainer.State, endedAt: Timestamp?) {
        if member.isLive { return (.running, nil) }
        if member.isCreated { return (.created, nil) }
        guard let details = try await client.container(member.id) else {
            return (.exited(ContainerExit(code: 137)), nil)
        }
        if details.isRunning { return (.running, nil) }
        return (.exited(exit(of: details)), Self.time(details.state?.finishedAt))
    }

    /// A container that ended less than this before its pod may have been ended with it.
    private static let podEndSpan: Duration = .seconds(1)

    /// When the owner of a pod's namespace ended; `nil` when that is not known.
    private func end(of owner: Listed?) async throws -> Timestamp? {
        guard let owner, let details = try await client.container(owner.id) else { return nil }
        return Self.time(details.state?.finishedAt)
    }

    /// A moment as engines write it: `2026-11-30T02:30:00.123456789Z`, also with an offset. `nil` for another text, and
    /// for the year 1, which means never.
    static func time(_ text: String?) -> Timestamp? {
        guard let match = text?.wholeMatch(of: moment) else { return nil }
        let (_, year, month, day, hour, minute, second, fraction, zone) = match.output
        var parts = tm()
        // The pattern admits nothing but digits.
        func number(_ text: Substring) -> CInt { CInt(text) ?? 0 }
        guard number(year) >= 1970 else { return nil }
        (parts.tm_year, parts.tm_mon, parts.tm_mday) = (number(year) - 1900, number(month) - 1, number(day))
        (parts.tm_hour, parts.tm_min, parts.tm_sec) = (number(hour), number(minute), number(second))
        let digits = ((fraction ?? "").dropFirst() + "000000").prefix(6)
        var offset: Int64 = 0
        if zone != "Z" {
            offset = Int64(number(zone.dropFirst().prefix(2))) * 3600 + Int64(number(zone.suffix(2))) * 60
            if zone.first == "-" { offset = -offset }
        }
        let seconds = Int64(timegm(&parts)) - offset
        return Timestamp(microseconds: seconds * 1_000_000 + (Int64(digits) ?? 0))
    }

    private static var moment:
        Regex<(Substring, Substring, Substring, Substring, Substring, Substring, Substring, Substring?, Substring)>
    {
        /([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})/
    }

    /// Docker reports what ran out of memory; Podman never does. There, SIGKILL that we did not send, under a limit of
    /// memory, is taken for it.
    func exit(of details: DockerClient.ContainerDetails) -> ContainerExit {
        let code = details.state?.exitCode ?? 0
        // A child that was killed for memory while the main process went on is no reason for this exit.
        guard code == 137 else { return ContainerExit(code: code) }
        if details.state?.outOfMemory == true { return ContainerExit(code: code, outOfMemory: true) }
        let isLikely = version.isPodman && (details.host?.memory ?? 0) > 0 && !state.wasStopped(details.id)
        return ContainerExit(code: code, outOfMemory: isLikely)
    }
}

extension DockerEngine {
    /// Hints from the engine's events. While the engine is away there are none. When it is back, there is a hint for
    /// every pod, since anything may have happened in between.
    package func hints() -> AsyncStream<String> {
        // Hints may be lost: a reader that far behind looks at everything anyway.
        let (stream, continuation) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(4096))
        let task = Task {
            await watch(continuation)
            continuation.finish()
        }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }

    /// An engine may forget a subscriber: after this long without events the platform subscribes again.
    private static let silence: Duration = .seconds(300)

    private func watch(_ hints: AsyncStream<String>.Continuation) async {
        var backoff = Backoff.engine
        while !Task.isCancelled {
            let pulse = Pulse()
            do {
                try await withSilenceLimit(Self.silence, of: pulse, clock: clock) {
                    let events = try await client.events(label: names.filter)
                    // For events before the subscription. `list` decides which containers are the platform's; a hint
                    // only makes it run.
                    let listed = try await client.containers(labels: [names.filter]).objects
                    for pod in Set(listed.compactMap { $0.labels?[Labels.pod] }) where ResourceNames.isPodID(pod) {
                        hints.yield(pod)
                    }
                    var lines = LineSplitter(limit: 1 << 20)
                    for try await chunk in events {
                        pulse.beat()
                        for line in lines.append(chunk) { if let pod = Self.pod(in: line) { hints.yield(pod) } }
                    }
                }
            } catch is CancellationError {
                return
            } catch {
                logger.debug("cannot subscribe to engine events", metadata: ["error": "\(error)"])
            }
            if pulse.count > 0 { backoff.reset() }
            do { try await clock.sleep(for: backoff.next()) } catch { return }
        }
    }

    /// The pod that an event is about; `nil` for events that do not matter to the platform.
    static func pod(in line: String) -> String? {
        let event = try? JSONDecoder().decode(ContainerEvent.self, from: Data(line.utf8))
        // Commands of probes would wake all readers for nothing.
        guard let event, event.action?.hasPrefix("exec_") != true else { return nil }
        return event.actor?.attributes?[Labels.pod].flatMap { ResourceNames.isPodID($0) ? $0 : nil }
    }
}

extension Backoff {
    /// For an engine that does not answer.
    static let engine = Backoff(first: .milliseconds(100), longest: .seconds(5))
}
