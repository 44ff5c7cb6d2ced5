// swift-tools-version:6.2
import PackageDescription

// One constant for every target: Swift 6 mode, explicit imports, warnings are errors.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let sqlite = Target.Dependency.product(name: "GRDBSQLite", package: "GRDB.swift")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

/// Set by scripts/sanitize.sh.
let isSanitized = Context.environment["CORTEX_SANITIZER"] != nil

/// A module \(docs/architecture.md\): a library target with the strict settings.
func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(
        name: name,
        dependencies: dependencies + ["Core", "Support", "TestSupport"] + (isSanitized ? ["CMutexOrder"] : []),
        exclude: exclude,
        swiftSettings: strict)
}

let package = Package(
    name: "cortex",
    products: [
        .executable(name: "cortex", targets: ["cortex"]),
        .executable(name: "cortex-pod-init", targets: ["PodInit"]),
        // For tests: sets the calendar of a program that it is preloaded into.
        .library(name: "SetClock", type: .dynamic, targets: ["CSetClock"]),
    ],
    dependencies: [
        .package(url: "https://github.com/hummingbird-project/hummingbird", exact: "2.28.1"),
        .package(url: "https://github.com/swift-server/async-http-client", exact: "1.37.0"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
        .package(url: "https://github.com/apple/swift-collections", exact: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", exact: "1.0.2"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
    ],
    targets: [
        module("Core", []),
        module("Records", ["Core"]),
        module("Support", ["Core", "CLinux", nioCore, nioPosix, nioHTTP1]),
        module("APIConfiguration", ["Core", yams]),
        module("Wire", ["Core"]),
        module("HTTPServing", ["Core", "Support", hummingbirdCore, nioCore, nioPosix, nioHTTP1, logging, lifecycle]),
        module(
            "Gateway", ["Core", "Support", "Wire", "HTTPServing", nioCore, nioHTTP1, deque, logging, lifecycle, crypto]),
        module("ContainerHTTP", ["Core", "Support", nioCore, nioPosix, nioHTTP1]),
        module("Dequeuer", ["Core", "Support", "ContainerHTTP", nioCore, nioPosix, nioHTTP1, logging, lifecycle]),
        module(
            "Proxy",
            ["Core", "Support", "HTTPServing", "ContainerHTTP", nioCore, nioPosix, nioHTTP1, logging, lifecycle]),
        module(
            "Jobs", ["Core", "Support", "Wire", "HTTPServing", crypto, nioCore, nioHTTP1, logging, lifecycle]),
        module("ObjectStorage", ["Core", "Support", "CLinux", crypto, asyncHTTPClient, nioCore, nioHTTP1]),
        module("Probes", ["Core", "Support", "ContainerHTTP", nioCore, nioPosix, nioHTTP1, logging]),
        module("Access", ["Core", crypto]),
        module(
            "Operator",
            [
                "Core", "Support", "Wire", "APIConfiguration", "Access", "HTTPServing", nioCore, nioHTTP1, logging,
                lifecycle, crypto,
            ]),
        module("Autoscaler", ["Core", logging, lifecycle]),
        module("Reconciler", ["Core", logging, lifecycle]),
        module("LocalOrchestrator", ["Core", "Support", "Probes", logging, lifecycle]),
        module("PodInitProtocol", []),
        // The policy of the system call filter and its two forms; PodInit and the engines use it.
        module("SystemCallFilter", []),
        module("PodInitClient", ["Core", "Support", "CLinux", "PodInitProtocol", subprocess]),
        module(
            "EngineDocker",
            [
                "Core", "Support", "CLinux", "PodInitClient", "PodInitProtocol", "SystemCallFilter", asyncHTTPClient,
                nioCore, nioPosix, nioHTTP1, logging, crypto, subprocess,
            ]),
        module(
            "EngineSandbox",
            ["Core", "Support", "Records", "CLinux", "PodInitClient", "PodInitProtocol", subprocess, logging]),
        module("StoreMemory", ["Core", "Support"]),
        .target(name: "CStoreSQLite"),
        module("StoreSQLite", ["Core", "Support", "Records", "CStoreSQLite", grdb, sqlite, logging]),
        module("Client", ["Core", "Wire", asyncHTTPClient, nioCore, nioPosix, nioHTTP1, yams]),
        // The whole platform in one process; the only module that names concrete stores, engines and orchestrators.
        module(
            "Platform",
            [
                "Core", "Support", "Wire", "APIConfiguration", "Access", "HTTPServing", "Gateway", "Dequeuer", "Proxy",
                "Jobs", "ObjectStorage", "Operator",
                "Autoscaler", "Reconciler", "LocalOrchestrator", "EngineDocker", "EngineSandbox", "StoreSQLite",
                logging, lifecycle,
                nioCore,
                nioPosix, yams,
            ]),
        module(
            "Commands",
            [
                "Core", "Support", "APIConfiguration", "Wire", "Platform", "EngineDocker", "EngineSandbox", "Client",
                arguments, logging, nioCore, nioPosix, nioHTTP1, asyncHTTPClient, subprocess, yams,
            ]),
        .executableTarget(name: "cortex", dependencies: ["Commands"], swiftSettings: strict),
        // Linux system calls that Swift cannot express, for the platform and for PodInit; each function in a section of
        // its own, so that either program gets only what it calls.
        .target(name: "CLinux", cSettings: [.unsafeFlags(["-ffunction-sections"])]),
        .target(name: "CPodInit", dependencies: ["CLinux"]),
        .executableTarget(
            name: "PodInit", dependencies: ["CLinux", "CPodInit", "PodInitProtocol", "SystemCallFilter"],
            swiftSettings: strict,
            // A sanitizer's runtime cannot be part of a static program.
            linkerSettings: isSanitized
                ? [] : [.unsafeFlags(["-static-executable", "-Xlinker", "--gc-sections", "-Xlinker", "-s"])]),

        // Suites that every adapter of a protocol must pass, and what tests share.
        module("StoreConformance", ["Core", "TestSupport"]),
        module("EngineConformance", ["Core", "CLinux", "TestSupport"]),
        module("PodmanSupport", ["Core", "Support", "TestSupport", "EngineDocker", logging]),
        module("TestSupport", ["Core", nioCore, nioPosix, nioHTTP1]),
        // Stands in for operator and gateway when the CLI is tested.
        .target(
            name: "StubPlatform", dependencies: [nioCore, nioPosix, nioHTTP1], path: "Tests/StubPlatform",
            swiftSettings: strict),

        // Counts, records and fails file calls below folders that a test watches.
        .target(name: "CDiskFaults", path: "Tests/CDiskFaults"),

        tests("SupportTests", [nioCore, nioEmbedded, nioHTTP1]),
        tests("CoreTests", ["Records"]),
        tests("APIConfigurationTests", ["APIConfiguration", "Records"], exclude: ["Golden"]),
        tests("WireTests", ["Wire"]),
        tests(
            "StoreTests", ["Records", "StoreMemory", "StoreSQLite", "StoreConformance", "CDiskFaults", grdb, logging],
            exclude: ["Golden"]),
        tests("HTTPServingTests", ["HTTPServing", hummingbird, nioCore, nioPosix, nioHTTP1]),
        tests(
            "GatewayTests",
            ["Gateway", "Wire", "StoreMemory", "StoreSQLite", hummingbird, asyncHTTPClient, nioCore, nioPosix]),
        tests("DequeuerTests", ["Dequeuer", "ContainerHTTP", "StoreMemory", nioCore, nioPosix, nioHTTP1, logging]),
        tests(
            "ProxyTests",
            [
                "Proxy", "Autoscaler", "Gateway", "HTTPServing", "StoreMemory", nioCore, nioEmbedded, nioHTTP1,
                nioPosix, logging, lifecycle,
            ]),
        tests("ProbesTests", ["Probes", nioCore, nioPosix, nioHTTP1]),
        tests(
            "OperatorTests",
            [
                "Operator", "Records", "Wire", "Access", "HTTPServing", "Reconciler", "StoreMemory", asyncHTTPClient,
                nioCore, nioHTTP1, logging, lifecycle,
            ]),
        tests("JobsTests", ["Jobs", "Operator", "StoreMemory", logging, nioHTTP1]),
        tests("ObjectStorageTests", ["ObjectStorage"]),
        tests("AutoscalerTests", ["Autoscaler", "Wire", "StoreMemory", logging]),
        tests("ReconcilerTests", ["Reconciler", "StoreMemory", logging]),
        tests("LocalOrchestratorTests", ["LocalOrchestrator"]),
        tests(
            "EngineDockerTests",
            [
                "EngineDocker", "EngineConformance", "CLinux", "LocalOrchestrator", "PodInitClient", "PodmanSupport",
                subprocess, logging, nioCore, nioPosix, nioHTTP1,
            ]),
        tests(
            "EngineSandboxTests",
            [
                "EngineSandbox", "EngineConformance", "CLinux", "LocalOrchestrator", "PodInitClient",
                "PodInitProtocol", "SystemCallFilter", subprocess, logging,
            ]),
        tests("PodInitTests", ["CLinux", "PodInitClient", "PodInitProtocol", subprocess]),
        tests("ClientTests", ["Client", "Wire", "StubPlatform", asyncHTTPClient, nioCore, nioHTTP1]),
        tests(
            "PlatformTests",
            [
                "Platform", "Wire", "Access", "Client", "EngineDocker", "LocalOrchestrator", "StoreMemory", nioCore,
                logging, lifecycle,
            ]),
        tests(
            "CommandsTests",
            [
                "Commands", "APIConfiguration", "Wire", "Access", "EngineDocker", "EngineSandbox", "Client",
                "StoreMemory", "StubPlatform", arguments, nioCore, logging, lifecycle,
            ]),
        tests("ArchitectureTests", []),
        // The code of docs/add-a-store.md and docs/add-an-engine.md.
        tests("ExampleAdapterTests", ["StoreMemory", "StoreConformance", "EngineConformance"]),
        // Puts the tasks of simulated worlds under the simulation's control.
        .target(name: "CSimulation", path: "Tests/CSimulation"),
        tests(
            "SimulationTests",
            [
                "CSimulation", "ContainerHTTP", "Dequeuer", "Gateway", "HTTPServing", "Jobs", "LocalOrchestrator",
                "Probes", "Reconciler", "StoreMemory",
                nioCore,
                nioEmbedded, nioHTTP1, logging, lifecycle,
            ]),
        .target(name: "CSetClock", path: "Tests/CSetClock"),
        .target(name: "CMutexOrder", path: "Tests/CMutexOrder"),
        tests(
            "EndToEndTests",
            ["Wire", asyncHTTPClient, nioCore, nioPosix, nioHTTP1, crypto, "EngineDocker", "PodmanSupport"],
            exclude: ["Fixtures"]),
    ]
)

// CORTEX_TESTS=GatewayTests,StoreTests builds only these test targets (CONTRIBUTING.md).
if let wanted = Context.environment["CORTEX_TESTS"].map({ Set($0.split(separator: ",").map(String.init)) }) {
    package.targets.removeAll { $0.type == .test && !wanted.contains($0.name) }
}
