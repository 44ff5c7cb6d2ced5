import Core
import Foundation
import TestSupport
import Testing

/// An engine in a separate process that hangs in the middle of an answer, so that it can be killed, stopped or made to
/// close the connection there.
final class DyingDaemon: Sendable {
    /// Where in an answer it hangs.
    enum Place: String, CaseIterable, Sendable {
        case beforeHead
        case afterHead
        case inChunk
        /// A body that ends with the connection, as Podman's commands have it.
        case inEndlessBody
    }

    /// How the connection ends.
    enum Death: String, CaseIterable, Sendable {
        /// SIGKILL; the socket's file stays.
        case killed
        /// The connection alone is closed.
        case hangsUp
    }

    let socket: String
    private let folder: URL
    private let process: ChildProcess

    private init(_ folder: URL, _ place: Place) throws {
        self.folder = folder
        socket = folder.path + "/d.sock"
        process = try ChildProcess(
            "python3", ["-c", Self.program, socket, place.rawValue], environment: ["PATH": "/usr/bin:/bin"],
            directory: folder.path)
    }

    /// Runs `body` with a daemon that listens already, and ends it afterwards.
    static func with(_ place: Place, _ body: (DyingDaemon) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder async throws in
            let daemon = try DyingDaemon(folder, place)
            try await expectEventually { daemon.has("listens") }
            do {
                try await body(daemon)
            } catch {
                daemon.process.send(SIGKILL)
                throw error
            }
            daemon.process.send(SIGKILL)
            _ = await daemon.process.wait()
        }
    }

    /// Whether a request was read and answered as far as it ever will be.
    var standsStill: Bool { has("stands") }

    func die(_ death: Death) async {
        switch death {
        case .killed:
            process.send(SIGKILL)
            _ = await process.wait()
        case .hangsUp: _ = FileManager.default.createFile(atPath: folder.path + "/close", contents: nil)
        }
    }

    private func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: folder.path + "/" + name) }

    /// `/exec/…/json` and the like are not asked before the stream has ended, so every request is answered alike.
    private static let program = """
        import os, socket, sys, threading, time
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(sys.argv[1])
        listener.listen(16)
        open("listens", "w").close()
        def serve(connection, place):
            text = b""
            while b"\\r\\n\\r\\n" not in text:
                text += connection.recv(65536)
            head = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/octet-stream\\r\\n"
            chunked = head + b"Transfer-Encoding: chunked\\r\\n\\r\\n"
            if place == "afterHead": connection.sendall(chunked)
            if place == "inChunk": connection.sendall(chunked + b"4\\r\\n{}\\n\\n\\r\\n64\\r\\nhalf")
            if place == "inEndlessBody": connection.sendall(head + b"\\r\\n{}\\n")
            open("stands", "w").close()
            while not os.path.exists("close"): time.sleep(0.01)
            connection.close()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, sys.argv[2]), daemon=True).start()
        """
}
