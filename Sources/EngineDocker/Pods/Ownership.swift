import Core
import Crypto
import Foundation

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// The proof that this platform made an object of the engine (contract N10).
///
/// Labels prove nothing: an image brings its own, and any user of the engine can set them. The proof is a keyed digest
/// over the object's name and all labels that the platform believes. The key is in the data directory and nowhere
/// else. A copy of all labels proves nothing either, because the name belongs to the proof and an engine gives each
/// name once.
struct Ownership: Sendable {
    private let key: SymmetricKey

    init(key: [UInt8]) {
        self.key = SymmetricKey(data: key)
    }

    /// Every label of the platform, so that none of the image's own labels replaces one, and the proof.
    func labels(_ labels: [String: String], name: String) -> [String: String] {
        var all = Dictionary(uniqueKeysWithValues: (Labels.all + [Labels.worker]).map { ($0, labels[$0] ?? "") })
        all[Labels.proof] = Self.hexadecimal(
            Array(HMAC<SHA256>.authenticationCode(for: Self.message(all, name), using: key)))
        return all
    }

    func holds(_ labels: [String: String], name: String) -> Bool {
        guard let proof = labels[Labels.proof], proof.utf8.count == 64 else { return false }
        let code = HMAC<SHA256>.authenticationCode(for: Self.message(labels, name), using: key)
        // Compared in constant time; the other side has no way to measure it, but nothing is simpler.
        return Self.hexadecimal(Array(code)).utf8.elementsEqual(proof.utf8)
    }

    /// Each part with its length before it, so that no two lists of parts give one message.
    private static func message(_ labels: [String: String], _ name: String) -> Data {
        var message = Data()
        // Left out where there is none, so that the proofs of pods without it stay valid.
        let worker = labels[Labels.worker].flatMap { $0.isEmpty ? nil : $0 }
        for part in [name] + Labels.all.map({ labels[$0] ?? "" }) + (worker.map { [$0] } ?? []) {
            message.append(Data("\(part.utf8.count):".utf8))
            message.append(Data(part.utf8))
        }
        return message
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    }
}

extension Ownership {
    /// The file of the key, in the data directory.
    private static let fileName = "engine.key"

    /// Reads the key of this data directory, or makes it at the first start. Blocking.
    ///
    /// - Throws: `setup` when the file is not the user's own, others may use it, or it is damaged.
    static func open(dataDirectory: String) throws -> Ownership {
        let path = "\(dataDirectory)/\(fileName)"
        if let key = try read(path) { return Ownership(key: key) }
        do {
            try FileManager.default.createDirectory(
                atPath: dataDirectory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw PlatformError(
                .setup, "The data directory cannot be written. Check the disk and its permissions.", cause: error)
        }
        // Complete before it has its name, and never in place of another: two starts at once agree on one key.
        let draft = "\(path).\(UInt64.random(in: .min ... .max))"
        let descriptor = openFile(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw unusable(String(cString: strerror(errno))) }
        defer { unlink(draft) }
        let key = SymmetricKey(size: .bits256).withUnsafeBytes { Array($0) }
        let text = Array((hexadecimal(key) + "\n").utf8)
        let isWritten = write(descriptor, text, text.count) == text.count && fsync(descriptor) == 0
        close(descriptor)
        guard isWritten else { throw unusable("the disk may be full") }
        guard link(draft, path) == 0 || errno == EEXIST else { throw unusable(String(cString: strerror(errno))) }
        guard let stored = try read(path) else { throw unusable("it cannot be read back") }
        return Ownership(key: stored)
    }

    /// `nil` when there is no such file.
    private static func read(_ path: String) throws -> [UInt8]? {
        let descriptor = openFile(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        if descriptor < 0, errno == ENOENT { return nil }
        guard descriptor >= 0 else { throw unusable(String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var information = stat()
        guard fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
            throw unusable("it is not a file")
        }
        guard information.st_uid == geteuid(), information.st_mode & 0o077 == 0 else {
            throw unusable("it must belong to this user, with mode 0600")
        }
        var buffer = [UInt8](repeating: 0, count: 128)
        let count = readFile(descriptor, &buffer, buffer.count)
        let digits = buffer.prefix(max(0, count)).filter { $0 != UInt8(ascii: "\n") }
        guard digits.count == 64 else {
            throw unusable("it is damaged; remove it, and pods of earlier runs are left alone")
        }
        return try stride(from: 0, to: 64, by: 2).map { index in
            guard let byte = UInt8(String(decoding: digits[index..<index + 2], as: UTF8.self), radix: 16) else {
                throw unusable("it is damaged; remove it, and pods of earlier runs are left alone")
            }
            return byte
        }
    }

    private static func unusable(_ reason: String) -> PlatformError {
        PlatformError(.setup, "The file \(fileName) in the data directory cannot be used: \(reason).")
    }
}

// The type's own functions have these names too.
private func openFile(_ path: String, _ flags: CInt, _ mode: mode_t = 0) -> CInt { open(path, flags, mode) }
private func readFile(_ descriptor: CInt, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int {
    read(descriptor, buffer, count)
}

/// What the platform writes on its containers and networks. It is believed only together with a proof (``Ownership``).
enum Labels {
    /// The installation's id, on everything of ours.
    static let installation = "cortex.installation"
    /// ``Role``
    static let role = "cortex.role"
    static let pod = "cortex.pod"
    static let api = "cortex.api"
    static let apiID = "cortex.api-id"
    static let podID = "cortex.pod-id"
    static let deploymentID = "cortex.deployment-id"
    /// Microseconds since the Unix epoch.
    static let createdAt = "cortex.created-at"
    /// On a member: its name.
    static let container = "cortex.container"
    /// On the owner of the namespace: the names of all containers the pod should have, joined by commas.
    static let containers = "cortex.containers"
    /// On pods of job workers: set, job id, index and attempt, separated by spaces.
    static let worker = "cortex.worker"
    /// The keyed digest over the object's name and all labels above.
    static let proof = "cortex.proof"

    /// The labels that every proof covers, in its order, before ``worker``. Changing it makes every older proof void.
    static let all = [
        installation, role, pod, api, apiID, podID, deploymentID, createdAt, container, containers,
    ]

    enum Role: String {
        /// Runs `PodInit` and owns the pod's network namespace.
        case podInit = "init"
        /// A user's container.
        case member
        /// A short-lived container that removes what the platform's user may not remove.
        case remover
        /// The network of all pods.
        case network
    }

    /// What all containers of a pod carry.
    static func common(_ plan: PodPlan, installation id: String) -> [String: String] {
        let common = [installation: id, pod: plan.id, createdAt: String(plan.createdAt.microseconds)]
        return common.merging(labels(of: plan.owner)) { first, _ in first }
    }

    private static func labels(of owner: PodOwner) -> [String: String] {
        let version = owner.version
        var labels = [
            api: version.name, apiID: version.apiID, podID: version.podID, deploymentID: version.deploymentID,
        ]
        if let owner = owner.worker {
            labels[worker] = "\(owner.set) \(owner.jobID) \(owner.index) \(owner.attempt)"
        }
        return labels
    }

    /// The owner of the pod that carries these labels.
    static func owner(in labels: [String: String]) -> PodOwner {
        let version = PodOwner.Version(
            name: labels[api] ?? "", apiID: labels[apiID] ?? "", podID: labels[podID] ?? "",
            deploymentID: labels[deploymentID] ?? "")
        let words = (labels[worker] ?? "").split(separator: " ").map(String.init)
        guard words.count == 4, let index = Int(words[2]), let attempt = Int(words[3]) else { return .api(version) }
        return .worker(.init(set: words[0], jobID: words[1], version: version, index: index, attempt: attempt))
    }
}

/// Names of what we make in the engine. All begin with the installation's prefix.
struct ResourceNames: Sendable {
    let installationID: String

    var prefix: String { "cortex-\(installationID)" }
    /// A dot keeps it apart from a pod's name.
    var network: String { "\(prefix).pods" }
    /// A name of an interface has at most 15 bytes.
    var bridge: String { "cp-\(installationID)" }
    func podInit(_ pod: String) -> String { "\(prefix)-\(pod)" }
    /// A dot keeps it apart from the name of another pod.
    func member(_ pod: String, _ container: String) -> String { "\(prefix)-\(pod).\(container)" }
    func remover(_ folder: String) -> String { "\(prefix).remove-\(folder)" }
    /// `label=value` that finds everything of ours, and perhaps more.
    var filter: String { "\(Labels.installation)=\(installationID)" }

    /// Whether `id` has the form of a pod's id: letters, digits and hyphens. Nothing else is ever joined to a path or a
    /// name.
    static func isPodID(_ id: String) -> Bool {
        let isShort = (1...200).contains(id.utf8.count)
        return isShort && id.utf8.first != UInt8(ascii: "-")
            && id.utf8.allSatisfy {
                (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0) || $0 == UInt8(ascii: "-")
            }
    }
}
