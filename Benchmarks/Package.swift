// swift-tools-version:6.2
import PackageDescription

let strict: [CSetting] = [.define("_GNU_SOURCE"), .unsafeFlags(["-Wall", "-Wextra", "-Werror"])]

// Programs that measure the platform from outside; they are not linked into it.
let package = Package(
    name: "benchmarks",
    targets: [
        .executableTarget(name: "load", path: "load", cSettings: strict),
        .executableTarget(name: "constant", path: "constant", cSettings: strict),
    ],
    cLanguageStandard: .gnu11
)
