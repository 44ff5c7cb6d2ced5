import Core
package import EngineDocker
import Foundation

/// Images made from this machine's own files: no registry, no download.
package enum TestImages {
    /// `sh` and its usual company, static; about 2 MB.
    package static func busybox(tag: String = "localhost/cortex-test-busybox:1", extra: [String: String] = [:]) throws
        -> ImageArchive
    {
        var layer = TarArchive()
        try addBusybox(to: &layer)
        for (path, text) in extra.sorted(by: { $0.key < $1.key }) { try layer.addFile(path, Array(text.utf8)) }
        return try ImageArchive(
            tag: tag, architecture: architecture, layers: [layer.finished()],
            configuration: .init(command: ["sh"], environment: ["PATH=/usr/bin:/bin", "HOME=/"]))
    }

    /// Python with its standard library, and busybox; about 40 MB, kept in `/tmp` by what it was made from.
    package static func python(tag: String = "localhost/cortex-test-python:1") async throws -> ImageArchive {
        let interpreter = try FileManager.default.realPath("/usr/bin/python3")
        let name = (interpreter as NSString).lastPathComponent
        let libraries = try await libraries(of: interpreter)
        let files = try standardLibrary("/usr/lib/" + name)
        let facts = ([tag, interpreter, "recipe 1"] + libraries + files).map { path in
            let attributes = try? FileManager.default.attributesOfItem(atPath: path)
            let size = attributes?[.size] as? Int ?? 0
            let date = attributes?[.modificationDate] as? Date
            return "\(path) \(size) \(date?.timeIntervalSince1970 ?? 0)"
        }
        let key = ImageArchive.digest(Array(facts.joined(separator: "\n").utf8)).prefix(16)
        let folder = "/tmp/cortex-test-images-\(getuid())"
        let cached = "\(folder)/python-\(key).layer"
        let layer: [UInt8]
        if let data = FileManager.default.contents(atPath: cached) {
            layer = Array(data)
        } else {
            layer = try makeLayer(interpreter, libraries, files)
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            try Data(layer).write(to: URL(fileURLWithPath: cached), options: .atomic)
        }
        return try ImageArchive(
            tag: tag, architecture: architecture, layers: [layer],
            configuration: .init(command: ["python3"], environment: ["PATH=/usr/bin:/bin", "HOME=/"]))
    }

    /// Go's word for this machine's architecture.
    package static var architecture: String {
        #if arch(arm64)
            "arm64"
        #else
            "amd64"
        #endif
    }

    private static let applets = [
        "sh", "awk", "basename", "cat", "chmod", "cp", "cut", "date", "dd", "dirname", "echo", "env", "expr", "false",
        "find", "grep", "head", "hostname", "id", "kill", "ln", "ls", "mkdir", "mktemp", "mv", "nproc", "printf", "ps",
        "pwd", "readlink", "rm", "rmdir", "sed", "seq", "sleep", "sort", "stat", "tail", "tee", "test", "touch", "tr",
        "true", "uniq", "wc", "wget", "xargs", "yes",
    ]

    private static func addBusybox(to layer: inout TarArchive) throws {
        let path = ["/usr/bin/busybox", "/bin/busybox"].first { FileManager.default.fileExists(atPath: $0) }
        guard let path, let data = FileManager.default.contents(atPath: path) else {
            throw PlatformError(
                .setup, "These tests need busybox: apt-get install --no-install-recommends busybox-static")
        }
        for folder in ["bin", "usr", "usr/bin", "etc", "proc", "sys", "dev", "mnt", "run", "var"] {
            try layer.addDirectory(folder)
        }
        try layer.addDirectory("tmp", mode: 0o1777)
        try layer.addFile("bin/busybox", Array(data), mode: 0o755)
        for applet in applets { try layer.addLink("bin/" + applet, to: "busybox") }
        try layer.addFile("etc/passwd", Array("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n".utf8))
        try layer.addFile("etc/group", Array("root:x:0:\nnogroup:x:65534:\n".utf8))
    }

    private static func makeLayer(_ interpreter: String, _ libraries: [String], _ files: [String]) throws -> [UInt8] {
        var layer = TarArchive()
        try addBusybox(to: &layer)
        try layer.addFile(String(interpreter.dropFirst()), try read(interpreter), mode: 0o755)
        try layer.addLink("usr/bin/python3", to: (interpreter as NSString).lastPathComponent)
        for path in libraries { try layer.addFile(String(path.dropFirst()), try read(path), mode: 0o755) }
        for path in files { try layer.addFile(String(path.dropFirst()), try read(path)) }
        return layer.finished()
    }

    private static func read(_ path: String) throws -> [UInt8] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw PlatformError(.setup, "\(path) can't be read")
        }
        return Array(data)
    }

    /// The files of Python's library, without what a server never needs.
    private static func standardLibrary(_ folder: String) throws -> [String] {
        let left = [
            "/test/", "/tests/", "/idlelib/", "/tkinter/", "/ensurepip/", "/__pycache__/", "/lib2to3/", "/turtledemo/",
            "/pydoc_data/", "/config-",
        ]
        guard let names = FileManager.default.enumerator(atPath: folder) else { return [] }
        var files: [String] = []
        while let name = names.nextObject() as? String {
            let path = folder + "/" + name
            guard !left.contains(where: path.contains) else { continue }
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue else {
                continue
            }
            files.append(path)
        }
        return files.sorted()
    }

    /// What the interpreter and its extension modules are linked with, under the names by which they are loaded.
    private static func libraries(of interpreter: String) async throws -> [String] {
        let name = (interpreter as NSString).lastPathComponent
        let modules = "/usr/lib/\(name)/lib-dynload"
        let extensions = (try? FileManager.default.contentsOfDirectory(atPath: modules)) ?? []
        let output = try await Shell.run(
            "ldd", [interpreter] + extensions.filter { $0.hasSuffix(".so") }.map { modules + "/" + $0 })
        var found: Set<String> = []
        for word in output.split(whereSeparator: { $0 == " " || $0 == "\n" || $0 == "\t" }) {
            if word.hasPrefix("/"), !word.hasSuffix(":") { found.insert(String(word)) }
        }
        return found.sorted()
    }
}

extension FileManager {
    fileprivate func realPath(_ path: String) throws -> String {
        let result = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
        guard fileExists(atPath: result) else {
            throw PlatformError(.setup, "These tests need \(path): apt-get install --no-install-recommends python3")
        }
        return result
    }
}
