import Foundation
import Testing

/// The modules and what each may import (docs/architecture.md). Standard modules of the toolchain are listed
/// too: `Core` does no I/O.
private let allowed: [String: Set<String>] = [
    "Core": [],
    "Records": ["Core"],
    "Support": ["Core", "CLinux", "NIO*"],
    "APIConfiguration": ["Core", "Yams", "CYaml"],
    "Wire": ["Core"],
    "HTTPServing": [
        "Core", "Support", "Hummingbird", "HummingbirdCore", "HTTPTypes", "NIO*", "Logging", "ServiceLifecycle",
    ],
    "Gateway": [
        "Core", "Support", "Wire", "HTTPServing", "Hummingbird", "HummingbirdCore", "HTTPTypes", "NIO*", "DequeModule",
        "Logging", "ServiceLifecycle", "Crypto",
    ],
    "ContainerHTTP": ["Core", "Support", "NIO*"],
    "Dequeuer": ["Core", "Support", "ContainerHTTP", "NIO*", "Logging", "ServiceLifecycle"],
    "Proxy": ["Core", "Support", "HTTPServing", "ContainerHTTP", "NIO*", "Logging", "ServiceLifecycle"],
    "Jobs": ["Core", "Support", "Wire", "HTTPServing", "Crypto", "NIO*", "Logging", "ServiceLifecycle"],
    "ObjectStorage": ["Core", "Support", "CLinux", "Crypto", "AsyncHTTPClient", "NIO*"],
    "Probes": ["Core", "Support", "ContainerHTTP", "NIO*", "Logging"],
    "Access": ["Core", "Crypto"],
    "Operator": [
        "Core", "Support", "Wire", "APIConfiguration", "Access", "HTTPServing", "Hummingbird", "HummingbirdCore",
        "HTTPTypes", "NIO*", "Logging", "ServiceLifecycle", "Crypto",
    ],
    "Autoscaler": ["Core", "Logging", "ServiceLifecycle"],
    "Reconciler": ["Core", "Logging", "ServiceLifecycle"],
    "LocalOrchestrator": ["Core", "Support", "Probes", "Logging", "ServiceLifecycle"],
    "PodInitProtocol": [],
    "SystemCallFilter": [],
    "PodInitClient": ["Core", "Support", "CLinux", "PodInitProtocol", "Subprocess"],
    "EngineDocker": [
        "CLinux", "PodInitProtocol", "Core", "Support", "PodInitClient", "SystemCallFilter", "AsyncHTTPClient",
        "NIO*", "Logging", "Crypto", "Subprocess",
    ],
    "EngineSandbox": [
        "Core", "Support", "Records", "CLinux", "PodInitClient", "PodInitProtocol", "Subprocess", "Logging",
    ],
    "StoreMemory": ["Core", "Support"],
    "StoreSQLite": ["Core", "Support", "Records", "CStoreSQLite", "GRDB", "GRDBSQLite", "Logging"],
    "Client": ["Core", "Wire", "AsyncHTTPClient", "NIO*", "Yams"],
    "Platform": [
        "Core", "Support", "Wire", "APIConfiguration", "Access", "HTTPServing", "Gateway", "Dequeuer", "Proxy", "Jobs",
        "ObjectStorage",
        "Operator", "Autoscaler",
        "Reconciler", "LocalOrchestrator", "EngineDocker", "EngineSandbox", "StoreSQLite", "Logging",
        "ServiceLifecycle", "NIO*",
        "Yams",
    ],
    "Commands": [
        "Core", "Support", "APIConfiguration", "Wire", "Platform", "EngineDocker", "EngineSandbox", "Client",
        "ArgumentParser", "Logging", "NIO*", "AsyncHTTPClient", "Subprocess", "Yams",
    ],
    "cortex": ["Commands"],
    "PodInit": ["CLinux", "CPodInit", "PodInitProtocol", "SystemCallFilter"],
    "StoreConformance": ["Core", "TestSupport", "Testing"],
    "EngineConformance": ["Core", "CLinux", "TestSupport", "Testing"],
    "PodmanSupport": ["Core", "Support", "EngineDocker", "Logging", "TestSupport"],
    "TestSupport": ["Core", "*"],
]

/// What any module but `Core`, `APIConfiguration`, `Wire` and `PodInit` may use of the toolchain.
private let toolchain: Set<String> = [
    "Foundation", "FoundationEssentials", "Dispatch", "Glibc", "Musl", "Darwin", "Synchronization", "System",
    "SystemPackage",
]

/// Exceptions by file, each with its reason.
private let exceptions: [String: Set<String>] = [
    // PodInit is linked without Foundation.
    "PodInit": ["Glibc", "Musl"]
]

@Suite("Architecture: which module imports which")
struct ImportTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private struct Import: Hashable, CustomStringConvertible {
        var file: String
        var module: String
        var description: String { "\(file) imports \(module)" }
    }

    private static func imports() throws -> [Import] {
        let sources = root.appending(path: "Sources")
        let files = try FileManager.default.subpathsOfDirectory(atPath: sources.path).filter { $0.hasSuffix(".swift") }
        return try files.flatMap { file in
            try String(contentsOf: sources.appending(path: file), encoding: .utf8).split(separator: "\n")
                .filter { isCode($0) }
                .compactMap { line -> Import? in
                    var words = line.split(separator: " ").map(String.init)
                    while let first = words.first,
                        first.hasPrefix("@")
                            || ["public", "package", "internal", "fileprivate", "private"].contains(first)
                    {
                        words.removeFirst()
                    }
                    guard words.first == "import", words.count > 1 else { return nil }
                    let kinds: Set = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
                    let name = kinds.contains(words[1]) && words.count > 2 ? words[2] : words[1]
                    return Import(file: file, module: String(name.split(separator: ".")[0]))
                }
        }
    }

    /// Imports stand at the margin, or four columns in below an `#if`; further in stands text, such as a Python program
    /// of a test.
    private static func isCode(_ line: Substring) -> Bool {
        line.prefix { $0 == " " }.count <= 4
    }

    private static func isAllowed(_ item: Import) -> Bool {
        let module = String(item.file.split(separator: "/")[0])
        let rules = allowed[module] ?? []
        if rules.contains("*") || rules.contains(item.module) { return true }
        if rules.contains("NIO*"), item.module.hasPrefix("NIO") { return true }
        if !["Core", "APIConfiguration", "Wire", "PodInit"].contains(module), toolchain.contains(item.module) {
            return true
        }
        return exceptions.contains { item.file.hasPrefix($0.key + "/") && $0.value.contains(item.module) }
    }

    @Test("No module imports what architecture.md does not allow it")
    func noForbiddenImport() throws {
        let imports = try Self.imports()
        #expect(imports.count > 100)
        let forbidden = imports.filter { !Self.isAllowed($0) }
        #expect(forbidden.isEmpty, "\(forbidden)")
    }

    @Test("Every module is in the table")
    func everyRoomIsKnown() throws {
        let modules = try FileManager.default.contentsOfDirectory(
            atPath: Self.root.appending(path: "Sources").path
        ).filter { !["CLinux", "CPodInit", "CStoreSQLite"].contains($0) }
        #expect(Set(modules) == Set(allowed.keys))
    }

    @Test("The rule sees a forbidden import")
    func ruleWorks() {
        #expect(!Self.isAllowed(Import(file: "Core/Store.swift", module: "NIOCore")))
        #expect(!Self.isAllowed(Import(file: "Core/Store.swift", module: "Synchronization")))
        #expect(!Self.isAllowed(Import(file: "Core/API/Quantity.swift", module: "Wire")))
        #expect(!Self.isAllowed(Import(file: "APIConfiguration/NearestKey.swift", module: "Wire")))
        #expect(!Self.isAllowed(Import(file: "Wire/SpecDocument.swift", module: "Foundation")))
        #expect(!Self.isAllowed(Import(file: "Gateway/Gateway.swift", module: "StoreSQLite")))
        #expect(!Self.isAllowed(Import(file: "PodInit/main.swift", module: "Foundation")))
        #expect(Self.isAllowed(Import(file: "Dequeuer/Dequeuer.swift", module: "NIOCore")))
    }

    @Test("VERSION and the version in the code are the same")
    func version() throws {
        let file = try String(contentsOf: Self.root.appending(path: "VERSION"), encoding: .utf8)
        let code = try String(contentsOf: Self.root.appending(path: "Sources/Core/Version.swift"), encoding: .utf8)
        #expect(code.contains("\"\(file.trimmingCharacters(in: .whitespacesAndNewlines))\""))
    }
}
