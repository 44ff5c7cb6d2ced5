package import Core
import Synchronization

extension DockerEngine {
    package func prepare(_ plan: PodPlan, progress: @escaping @Sendable (String) -> Void) async throws {
        try await mapping {
            var seen: Set<String> = []
            for container in plan.containers {
                guard let image = container.image, !image.isEmpty else {
                    throw PlatformError(.imageUnavailable, "Container \(container.name) has no image.")
                }
                if seen.insert(image).inserted { try await ensureImage(image, progress: progress) }
            }
        }
    }

    private func ensureImage(_ text: String, progress: @escaping @Sendable (String) -> Void) async throws {
        guard let reference = ImageReference(text) else {
            throw PlatformError(
                .imageUnavailable, "\"\(text)\" is no image reference (registry/name:tag, in lower case).")
        }
        // As written first: images that were built on this machine are there under a short name. Only a pull needs the
        // full one.
        for name in [text, reference.fullName] {
            if let image = try await client.image(name) { return try accept(image, text) }
        }
        if reference.isLocal {
            throw PlatformError(
                .imageUnavailable,
                "The image \(text) is not on this machine, and localhost/ names are never pulled. Build or load it first."
            )
        }
        let store = CredentialStore(directory: configuration.dockerConfigDirectory, logger: logger)
        let credentials = await store.credentials(for: reference.registry)
        progress("Pulling \(text)")
        do {
            let (client, clock) = (client, clock)
            try await withDeadline(configuration.pullTimeout, clock: clock) {
                var told = PullProgress(image: text, now: clock.now())
                try await client.pull(reference, credentials: credentials) { event in
                    if let line = told.note(event, now: clock.now()) { progress(line) }
                }
            }
        } catch let refusal as DockerError {
            throw Self.unavailable(reference, refusal, hadCredentials: credentials != nil)
        } catch let error as PlatformError where error.code == .timedOut {
            throw PlatformError(.imageUnavailable, "The image \(text) was not pulled in time.", cause: error)
        }
        guard let image = try await client.image(reference.fullName) else {
            throw PlatformError(.imageUnavailable, "The engine says it pulled the image \(text), but does not have it.")
        }
        try accept(image, text)
        progress("Pulled \(text)")
    }

    /// The largest labels of an image, in bytes. The engine repeats them in each list of containers.
    static let labelLimit = 64 << 10

    /// Takes note of the image's id, from which containers are made.
    private func accept(_ image: DockerClient.Image, _ text: String) throws {
        guard image.labelBytes <= Self.labelLimit else {
            throw PlatformError(
                .imageUnavailable,
                "The image \(text) has \(image.labelBytes >> 10) KiB of labels; at most \(Self.labelLimit >> 10) KiB are accepted. Build it with fewer."
            )
        }
        if let id = image.id { state.noteImage(text, id: id) }
    }

    /// The registry's reason, and what to do about it. The text only chooses the advice; it is shown as it is.
    private static func unavailable(
        _ reference: ImageReference, _ refusal: DockerError, hadCredentials: Bool
    ) -> PlatformError {
        let reason = refusal.message.count > 500 ? refusal.message.prefix(500) + "…" : refusal.message[...]
        let text = reason.lowercased()
        var advice = ""
        if ["unauthorized", "denied", "authentication required", "no basic auth"].contains(where: text.contains) {
            advice =
                hadCredentials
                ? " The credentials for \(reference.registry) were refused: run docker login \(reference.registry) again."
                : " If the image is private, run docker login \(reference.registry)."
        } else if ["manifest unknown", "not found", "name unknown", "does not exist"].contains(where: text.contains) {
            advice = " Check its name and tag."
        }
        return PlatformError(
            .imageUnavailable, "The image \(reference) can't be pulled: \(reason).\(advice)", cause: refusal)
    }
}
