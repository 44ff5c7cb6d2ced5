import Core

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// A small file that only its owner may read. Every method blocks.
struct PrivateFile {
    static let sizeLimit = 64 * 1024

    let path: String

    /// The file's bytes; `nil` if there is none. Removes the rights of other users.
    ///
    /// - Throws: ``PlatformError`` `setup`.
    func read() throws -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            if errno == ELOOP {
                throw PlatformError(
                    .setup, "\(path) is a symbolic link, which is not followed: remove it and start again")
            }
            throw failure("cannot be read", errno)
        }
        defer { close(descriptor) }
        var information = stat()
        guard fstat(descriptor, &information) == 0 else { throw failure("cannot be read", errno) }
        guard information.st_mode & S_IFMT == S_IFREG else {
            throw PlatformError(.setup, "\(path) is not a file: remove it and start again")
        }
        guard information.st_uid == geteuid() else {
            throw PlatformError(
                .setup,
                "\(path) belongs to another user (number \(information.st_uid)): remove it, or choose another --data-dir"
            )
        }
        guard information.st_mode & 0o022 == 0 else {
            throw PlatformError(
                .setup,
                "\(path) can be written by other users, so its tokens may not be ours: remove it and start again")
        }
        if information.st_mode & 0o077 != 0, fchmod(descriptor, 0o600) != 0 {
            throw failure("can be read by others and its mode cannot be changed", errno)
        }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while bytes.count <= Self.sizeLimit {
            let count = piece.withUnsafeMutableBytes { buffer in
                #if canImport(Darwin)
                    Darwin.read(descriptor, buffer.baseAddress, buffer.count)
                #elseif canImport(Glibc)
                    Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                #else
                    Musl.read(descriptor, buffer.baseAddress, buffer.count)
                #endif
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("cannot be read", errno) }
            if count == 0 { return bytes }
            bytes += piece[..<count]
        }
        throw PlatformError(.setup, "\(path) is larger than it can be: remove it and start again")
    }

    /// Replaces the file atomically, and returns when it is on disk.
    ///
    /// - Throws: ``PlatformError`` `setup`.
    func replace(with bytes: [UInt8]) throws {
        let temporary = "\(path).new"
        if unlink(temporary) != 0, errno != ENOENT { throw failure("cannot be written", errno) }
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("cannot be written", errno) }
        do {
            defer { close(descriptor) }
            try write(bytes, to: descriptor)
            guard fsync(descriptor) == 0 else { throw failure("cannot be written", errno) }
        } catch {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, path) == 0 else {
            let reason = errno
            unlink(temporary)
            throw failure("cannot be written", reason)
        }
        try syncDirectory()
    }

    private func write(_ bytes: [UInt8], to descriptor: CInt) throws {
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { buffer in
                #if canImport(Darwin)
                    Darwin.write(descriptor, buffer.baseAddress, buffer.count)
                #elseif canImport(Glibc)
                    Glibc.write(descriptor, buffer.baseAddress, buffer.count)
                #else
                    Musl.write(descriptor, buffer.baseAddress, buffer.count)
                #endif
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("cannot be written", errno) }
            written += count
        }
    }

    /// A rename is durable only after the folder is synced.
    private func syncDirectory() throws {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("cannot be written", errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("cannot be written", errno) }
    }

    private func failure(_ what: String, _ number: CInt) -> PlatformError {
        PlatformError(
            .setup,
            "\(path) \(what) (\(String(cString: strerror(number)))): check the disk and the folder's owner, or choose another --data-dir"
        )
    }
}
