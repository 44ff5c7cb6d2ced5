/// The platform's version, equal to the file `VERSION` of the repository (a test compares them).
package enum CortexVersion {
    package static let current = "1.0.0-dev"
}
