import Core
import Foundation

/// The folder of a private Podman: everything it has is below it, so that nothing of the machine's own engine is
/// touched and all of it can be removed.
struct PodmanFolder: Sendable {
    let path: String
    /// A port of this machine that the engine takes for a registry without TLS.
    let registryPort: Int

    var socket: String { path + "/p.sock" }
    var log: String { path + "/service.log" }
    var owner: String { path + "/owner" }

    /// The prefix of all such folders. Short: paths of sockets are.
    static let prefix = "/tmp/cxpodman-"

    static func make(registryPort: Int) throws -> PodmanFolder {
        let path = prefix + String(UInt32.random(in: .min ... .max), radix: 16)
        let folder = PodmanFolder(path: path, registryPort: registryPort)
        let manager = FileManager.default
        try manager.createDirectory(
            atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o711])
        for name in ["tmp", "home", "scratch"] {
            try manager.createDirectory(atPath: path + "/" + name, withIntermediateDirectories: false)
        }
        try String(ProcessInfo.processInfo.processIdentifier).write(
            toFile: folder.owner, atomically: true, encoding: .utf8)
        // Equal soft and hard limits: Podman 4.3 swaps them on its way through the API. Locks in files, since those in
        // shared memory are shared with every other Podman of the machine.
        try """
        [containers]
        default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
        [engine]
        cgroup_manager = "cgroupfs"
        events_logger = "file"
        lock_type = "file"
        exit_command_delay = 5
        [network]
        network_backend = "netavark"

        """.write(toFile: path + "/containers.conf", atomically: true, encoding: .utf8)
        try """
        unqualified-search-registries = []
        [[registry]]
        location = "127.0.0.1:\(registryPort)"
        insecure = true

        """.write(toFile: path + "/registries.conf", atomically: true, encoding: .utf8)
        try "{}".write(toFile: path + "/home/auth.json", atomically: true, encoding: .utf8)
        try #"{"default":[{"type":"insecureAcceptAnything"}]}"#.write(
            toFile: path + "/policy.json", atomically: true, encoding: .utf8)
        return folder
    }

    /// Names the program that runs containers.
    func use(runtime: String) throws {
        let file = path + "/containers.conf"
        let text = try String(contentsOfFile: file, encoding: .utf8)
        let line = "cgroup_manager = \"cgroupfs\"\n"
        try text.replacing(line, with: line + "runtime = \"\(runtime)\"\n").write(
            toFile: file, atomically: true, encoding: .utf8)
    }

    /// Podman in this folder: what watches a container writes an empty file `oom` where Podman was started, once the
    /// kernel kills in it.
    var program: [String] { ["env", "--chdir=" + path, "podman"] }

    var arguments: [String] { ["--network-config-dir", path + "/net", "--tmpdir", path + "/tmp"] }

    /// Chooses how images and containers are kept.
    func use(driver: String) throws {
        try """
        [storage]
        driver = "\(driver)"
        graphroot = "\(path)/root"
        runroot = "\(path)/run"

        """.write(toFile: path + "/storage.conf", atomically: true, encoding: .utf8)
    }

    var environment: [String: String] {
        [
            "CONTAINERS_CONF": path + "/containers.conf", "CONTAINERS_REGISTRIES_CONF": path + "/registries.conf",
            "CONTAINERS_STORAGE_CONF": path + "/storage.conf", "TMPDIR": path + "/scratch", "HOME": path + "/home",
            "REGISTRY_AUTH_FILE": path + "/home/auth.json",
        ]
    }

    /// Ends and removes everything of the folder in `$CX`: containers, then processes that have the folder in their
    /// command line (by id), mounts, files.
    static let cleanUp = #"""
        export CONTAINERS_CONF=$CX/containers.conf CONTAINERS_STORAGE_CONF=$CX/storage.conf HOME=$CX/home
        case "$CX" in /tmp/cxpodman-*) ;; *) exit 1 ;; esac
        [ -d "$CX" ] || exit 0
        # Processes of containers don't have the folder in their command line: their ids stand in files.
        mains=$(for file in "$CX"/run/*-containers/*/userdata/pidfile; do
            id=${file%/userdata/pidfile}
            [ -f "$file" ] && echo "$(cat "$file"):${id##*/}"
        done)
        # First whoever could still make something: the service and its callers.
        for process in /proc/[0-9]*; do
            if tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -qF "$CX/p.sock"; then
                kill -9 "${process#/proc/}" 2>/dev/null
            fi
        done
        # Members before the owners of their namespace: more than one round.
        for round in 1 2 3; do
            podman --network-config-dir "$CX/net" --tmpdir "$CX/tmp" rm --force --all --depend --time 0 >/dev/null 2>&1 && break
        done
        for round in 1 2; do
            for main in $mains; do
                grep -qF "${main#*:}" "/proc/${main%%:*}/cgroup" 2>/dev/null && kill -9 "${main%%:*}"
            done
            for process in /proc/[0-9]*; do
                if tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -qF "$CX/"; then
                    kill -9 "${process#/proc/}" 2>/dev/null
                fi
            done
            sleep 0.1
        done
        awk -v folder="$CX/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do
            umount -l "$mount" 2>/dev/null
        done
        rm -rf "$CX"
        """#

    /// Ends all processes of the folder in `$CX` and removes its mounts, its network, and what would lie in memory
    /// (`/run`).
    static let powerCut = #"""
        export CONTAINERS_CONF=$CX/containers.conf CONTAINERS_STORAGE_CONF=$CX/storage.conf HOME=$CX/home
        case "$CX" in /tmp/cxpodman-*) ;; *) exit 1 ;; esac
        run() { podman --network-config-dir "$CX/net" --tmpdir "$CX/tmp" "$@"; }
        bridges=$(for file in "$CX"/net/*.json; do sed -n 's/.*"network_interface": "\(c[xp]-[^"]*\)".*/\1/p' "$file"; done)
        for file in "$CX"/run/*-containers/*/userdata/pidfile; do
            id=${file%/userdata/pidfile}
            main=$(cat "$file")
            grep -qF "${id##*/}" "/proc/$main/cgroup" 2>/dev/null && kill -9 "$main"
        done
        sleep 0.2
        # Network namespaces and the list of addresses that are taken lie in /run, which all Podmans of a machine share: of ours nothing may stay.
        run container cleanup --all >/dev/null 2>&1
        for process in /proc/[0-9]*; do
            case "$(cat "$process/comm" 2>/dev/null)" in conmon | podman) ;; *) continue ;; esac
            if tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -qF "$CX/"; then kill -9 "${process#/proc/}" 2>/dev/null; fi
        done
        awk -v folder="$CX/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do
            umount -l "$mount" 2>/dev/null
        done
        for bridge in $bridges; do ip link delete "$bridge" 2>/dev/null; done
        rm -rf "$CX/run" "$CX/tmp"
        mkdir "$CX/tmp"
        """#

    /// Removes what runs left behind whose process is gone: the machine may have been switched off, or everything
    /// killed at once.
    static func removeAbandoned() async throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: "/tmp").filter { $0.hasPrefix("cxpodman-") }
        for name in names {
            let path = "/tmp/" + name
            let owner = try? String(contentsOfFile: path + "/owner", encoding: .utf8)
            if let owner, FileManager.default.fileExists(atPath: "/proc/" + owner) { continue }
            // One that is being made has no owner for a moment; it is young.
            let made = try? FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date
            if owner == nil, let made, made.timeIntervalSinceNow > -60 { continue }
            _ = try? await Shell.run("sh", ["-c", cleanUp], environment: ["CX": path])
        }
    }
}
