/// The platform's version: the file `VERSION` of the repository says the same (a test compares them).
package enum CortexVersion {
    package static let current = "1.0.0-dev"
}
