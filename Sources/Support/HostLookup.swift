import Core

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Finds the address of a name that this machine is to listen on, and describes the system's errors.
package enum HostLookup {
    /// How long a look-up may take.
    package static let limit: Duration = .seconds(5)

    /// The first numeric address of `host`. Waits on a thread of its own, because a name server may not answer.
    ///
    /// - Throws: ``Core/PlatformError`` `setup`, whose message says what is wrong with `host`.
    package static func address(of host: String) async throws -> String {
        let result: Result<String, Failure>
        do {
            result = try await withTimeLimit(limit) { try await BlockingPool.checks.run { look(up: host) } }
        } catch let error as PlatformError where error.code == .timedOut {
            throw PlatformError(.setup, "\(host) cannot be resolved: no name server answered in time", cause: error)
        }
        switch result {
        case .success(let address): return address
        case .failure(let failure):
            throw PlatformError(.setup, "\(host) cannot be resolved: \(reason(ofLookup: failure.code))")
        }
    }

    private struct Failure: Error {
        var code: CInt
    }

    /// Blocking.
    private static func look(up host: String) -> Result<String, Failure> {
        var hints = addrinfo()
        hints.ai_flags = AI_PASSIVE
        #if canImport(Musl)
            hints.ai_socktype = SOCK_STREAM
        #else
            hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        #endif
        var list: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, nil, &hints, &list)
        guard result == 0, let first = list?.pointee else { return .failure(Failure(code: result)) }
        defer { freeaddrinfo(list) }
        var text = [CChar](repeating: 0, count: 128)
        let named = getnameinfo(
            first.ai_addr, first.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
        guard named == 0 else { return .failure(Failure(code: named)) }
        return .success(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }

    /// Why a name was not found, in words.
    package static func reason(ofLookup code: CInt) -> String {
        switch code {
        case EAI_NONAME, -5: "the name is not known"  // -5: EAI_NODATA, a name without an address
        case EAI_AGAIN: "no name server answers; try again later"
        case EAI_FAIL: "the name server failed"
        case EAI_FAMILY, -9: "this machine does not use this kind of address"  // -9: EAI_ADDRFAMILY
        case EAI_MEMORY: "there is no memory left"
        case EAI_SYSTEM: "the system cannot look names up; check /etc/resolv.conf and the limit of open files"
        default: "\(String(cString: gai_strerror(code)))"
        }
    }

    /// Why an address could not be taken, in words, and what to do.
    package static func reason(ofBind number: CInt) -> String {
        switch number {
        case EADDRINUSE: "the port is taken by another program"
        case EACCES, EPERM: "no permission; ports below 1024 need root"
        case EADDRNOTAVAIL: "this machine does not have that address"
        case EAFNOSUPPORT, EPROTONOSUPPORT: "this machine does not use this kind of address"
        case EMFILE, ENFILE: "too many files are open; raise the limit (ulimit -n)"
        case ENOBUFS, ENOMEM: "there is no memory left"
        case ENODEV, ENXIO: "this machine does not have that network interface"
        case EINVAL: "the address needs the name of a network interface, as in fe80::1%eth0"
        default: "\(String(cString: strerror(number))) (error \(number))"
        }
    }
}
