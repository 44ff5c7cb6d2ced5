import PodmanSupport

/// The image of the tests' containers: this machine's Python, loaded once into the private Podman.
enum TestImage {
    private static let loading = Task {
        let archive = try await TestImages.python()
        try await PrivatePodman.shared().load(archive)
        return "localhost/cortex-test-python:1"
    }

    static func python() async throws -> String { try await loading.value }
}
