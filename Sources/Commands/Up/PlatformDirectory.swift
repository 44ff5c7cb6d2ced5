import Core
import Foundation

/// The data directory: what stands where, and the check that it can be used (contract U1, U5).
struct PlatformDirectory: Sendable, Hashable {
    let path: String

    /// Folders of the pods.
    var pods: String { "\(path)/pods" }
    /// Unix sockets on which gateway and operator serve the containers.
    var sockets: String { "\(path)/run" }
    var gatewaySocket: String { "\(sockets)/gateway.sock" }
    var operatorSocket: String { "\(sockets)/operator.sock" }
    var addresses: String { "\(path)/addresses.json" }

    /// Makes what is missing, for the owner's eyes only, and tries to write.
    ///
    /// - Throws: ``PlatformError`` `setup`: one line that says what is wrong and what to do.
    static func prepare(_ path: String) throws -> PlatformDirectory {
        let directory = PlatformDirectory(path: path)
        do {
            for folder in [path, directory.pods, directory.sockets] {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            }
            let probe = "\(path)/.write-test"
            try Data("x".utf8).write(to: URL(filePath: probe))
            try FileManager.default.removeItem(atPath: probe)
        } catch {
            throw PlatformError(
                .setup,
                "the data directory \(path) cannot be written (\(Self.reason(error))); free space or permissions there, or choose another with --data-dir",
                cause: error)
        }
        return directory
    }

    /// What the last run left that must not be believed now.
    func removeStale() throws {
        for file in [addresses, gatewaySocket, operatorSocket] where FileManager.default.fileExists(atPath: file) {
            try FileManager.default.removeItem(atPath: file)
        }
    }

    private static func reason(_ error: any Error) -> String {
        var error = error as NSError
        while let underlying = error.userInfo[NSUnderlyingErrorKey] as? NSError { error = underlying }
        if error.domain == NSPOSIXErrorDomain { return String(cString: strerror(Int32(error.code))).lowercased() }
        var text = (error.localizedFailureReason ?? error.localizedDescription)[...]
        while text.last == "." { text.removeLast() }
        return text.prefix(1).lowercased() + text.dropFirst()
    }
}

/// Random lower-case letters and digits, for names that must be unique and readable.
enum RandomWord {
    static func make(length: Int) -> String {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz0123456789")
        return String((0..<length).map { _ in alphabet[Int.random(in: alphabet.indices)] })
    }
}
