// swift-tools-version:6.2
import PackageDescription

let strict: [CSetting] = [.define("_GNU_SOURCE"), .unsafeFlags(["-Wall", "-Wextra", "-Werror"])]

// What measures the platform from outside, as programs of their own: nothing of it is linked into what it measures.
let package = Package(
    name: "benchmarks",
    targets: [
        .executableTarget(name: "load", path: "load", cSettings: strict),
        .executableTarget(name: "constant", path: "constant", cSettings: strict),
    ],
    cLanguageStandard: .gnu11
)
