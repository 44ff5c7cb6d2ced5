import APIConfiguration
import Core

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Which folders and files of this machine pods may mount (contract N2). Methods that read the disk block.
package struct VolumePolicy: Sendable {
    /// Refused for every container, independent of the deployer's rights.
    package struct Protected: Sendable {
        /// Absolute.
        package var path: String
        /// What it is, for messages.
        package var name: String
        /// Whether what lies inside it is protected as well.
        package var includesContent: Bool

        package init(_ path: String, _ name: String, includesContent: Bool) {
            self.path = path
            self.name = name
            self.includesContent = includesContent
        }
    }

    /// What to do with a source that is reached through a symbolic link.
    enum Links {
        /// Replaced by its real path; for APIs that are deployed from a file.
        case resolve
        /// It is refused: a version that was deployed before is never led to another place by a link of today.
        case refuse
        /// Kept, also a missing source: the engine, which follows no link, checks it.
        case keep
    }

    /// One volume that may not be mounted.
    struct Finding: Sendable, Hashable {
        /// The field, such as `pod.containers[0].volumes[1]`.
        var path: String
        var message: String
        /// Whether this volume is safe itself but endangers a volume of another API.
        var isOuter = false
    }

    /// The same on every machine.
    private static let system = [
        Protected("/", "the root folder", includesContent: false),
        Protected("/proc", "/proc", includesContent: true), Protected("/sys", "/sys", includesContent: true),
        Protected("/dev", "/dev", includesContent: false),
    ]

    private let protected: [Protected]
    private let allowed: [String]

    /// - Parameters:
    ///   - protected: beside the folders of the system: the data directory and the sockets of the platform and of
    ///     engines.
    ///   - allowed: the folders below which tokens other than the admin's may mount something.
    package init(protected: [Protected] = [], allowed: [String] = []) {
        self.protected = Self.system + protected
        self.allowed = allowed
    }

    // MARK: One API

    /// Checks each volume of an API; with ``Links/resolve`` replaces each source by its real path.
    ///
    /// - Parameter isRestricted: whether only the allowed folders may be mounted.
    func check(_ specification: inout APISpecification, isRestricted: Bool, links: Links) -> [Finding] {
        var findings: [Finding] = []
        for (number, container) in specification.pod.containers.enumerated() {
            for (index, volume) in container.volumes.enumerated() {
                func report(_ message: String) {
                    findings.append(Finding(path: Self.field(number, index), message: message))
                }
                let source = volume.source
                guard let real = Self.realPath(source) else {
                    let reason = errno
                    if links == .keep { continue }
                    report(
                        reason == ENOENT || reason == ENOTDIR
                            ? "\(source) does not exist on this machine"
                            : "\(source) cannot be looked at (\(String(cString: strerror(reason)))): correct its owner or mode"
                    )
                    continue
                }
                switch links {
                case .resolve: specification.pod.containers[number].volumes[index].source = real
                case .refuse where real != source:
                    report(
                        "\(source) is reached through a symbolic link, which is not followed for an earlier version: deploy its file again"
                    )
                case .refuse, .keep: break
                }
                if let message = obstacle(real, isRestricted: isRestricted) { report(message) }
            }
        }
        return findings
    }

    private func obstacle(_ real: String, isRestricted: Bool) -> String? {
        let identity = Identity(real)
        for item in protected {
            let path = Self.realPath(item.path) ?? VolumeSyntax.normalized(item.path)
            if Self.contains(real, path) || identity.map({ Self.lineage(of: path).contains($0) }) == true {
                return
                    "\(real) is or contains \(item.name), which no container may have: mount a folder that does not"
            }
            if item.includesContent, Self.contains(path, real) {
                return "\(real) lies inside \(item.name), which no container may have: mount another folder"
            }
        }
        if let kind = identity?.kind, kind == S_IFBLK || kind == S_IFCHR {
            return "\(real) is a device, which no container may have as a volume: mount a folder or a file"
        }
        guard isRestricted else { return nil }
        let folders = allowed.map { Self.realPath($0) ?? VolumeSyntax.normalized($0) }
        if folders.contains(where: { Self.contains($0, real) }) { return nil }
        return
            "only the operator's own token may mount \(real): others need a folder that cortex up --allow-volume names"
    }

    // MARK: Several APIs

    /// Volumes that lie inside another volume that containers may write, where a container could replace them by a
    /// link. For each API of `declared`, by position.
    ///
    /// - Parameter others: the APIs that are deployed and stay as they are. Of those only what touches a declared API
    ///   is reported, with it.
    static func nested(_ declared: [APISpecification], beside others: [APISpecification]) -> [[Finding]] {
        let known = (declared + others).flatMap { api in api.mounts }
        let foreign = others.flatMap { api in api.mounts }
        return declared.map { api in
            api.mounts.flatMap { mount -> [Finding] in
                var findings: [Finding] = []
                if let outer = known.first(where: { !$0.isReadOnly && isInside(mount.source, $0.source) }) {
                    findings.append(
                        Finding(
                            path: mount.field,
                            message:
                                "\(mount.source) lies inside \(outer.source), which containers of \(outer.api) may write and so replace it by a link: mount the outer one with :ro, or take folders side by side"
                        ))
                }
                if !mount.isReadOnly, let inner = foreign.first(where: { isInside($0.source, mount.source) }) {
                    findings.append(
                        Finding(
                            path: mount.field,
                            message:
                                "\(mount.source) contains \(inner.source), a volume of \(inner.api), which its containers could replace by a link: mount it with :ro, or take folders side by side",
                            isOuter: true))
                }
                return findings
            }
        }
    }

    /// The same specification with real paths, as far as they can be found.
    static func canonical(_ specification: APISpecification) -> APISpecification {
        var specification = specification
        for number in specification.pod.containers.indices {
            for index in specification.pod.containers[number].volumes.indices {
                let source = specification.pod.containers[number].volumes[index].source
                specification.pod.containers[number].volumes[index].source = realPath(source) ?? source
            }
        }
        return specification
    }

    // MARK: Paths

    fileprivate static func field(_ container: Int, _ volume: Int) -> String {
        "pod.containers[\(container)].volumes[\(volume)]"
    }

    /// Whether `path` is `folder` or lies inside it. Both are absolute and free of `.`, `..` and links.
    static func contains(_ folder: String, _ path: String) -> Bool {
        folder == path || isInside(path, folder)
    }

    private static func isInside(_ path: String, _ folder: String) -> Bool {
        path != folder && path.hasPrefix(folder == "/" ? "/" : folder + "/")
    }

    private static func realPath(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// A file's identity on the disk, independent of its name.
    private struct Identity: Hashable {
        var device: UInt64
        var number: UInt64
        var kind: mode_t

        init?(_ path: String) {
            var information = stat()
            guard stat(path, &information) == 0 else { return nil }
            self.device = UInt64(truncatingIfNeeded: information.st_dev)
            self.number = UInt64(truncatingIfNeeded: information.st_ino)
            self.kind = information.st_mode & S_IFMT
        }
    }

    /// `path` and every folder that it lies in: what shows also through a bind mount of one of them.
    private static func lineage(of path: String) -> Set<Identity> {
        var identities: Set<Identity> = []
        var rest = path[...]
        while !rest.isEmpty {
            if let identity = Identity(String(rest)) { identities.insert(identity) }
            rest = rest.lastIndex(of: "/").map { rest[..<$0] } ?? ""
        }
        if let root = Identity("/") { identities.insert(root) }
        return identities
    }
}

extension APISpecification {
    fileprivate struct Mount {
        var api: String
        var field: String
        var source: String
        var isReadOnly: Bool
    }

    fileprivate var mounts: [Mount] {
        pod.containers.enumerated().flatMap { number, container in
            container.volumes.enumerated().map { index, volume in
                Mount(
                    api: name, field: VolumePolicy.field(number, index), source: volume.source,
                    isReadOnly: volume.readOnly)
            }
        }
    }
}
