import Core
import NIOCore
import NIOPosix
import Support

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Checks that the addresses are free before anything else is started, so that a taken port or a wrong address disturbs
/// no running pod (contract U5).
enum PortCheck {
    /// An address to listen on, with the flags that selected it.
    struct Address: Sendable {
        var host: String
        var port: Int
        var hostFlag: String
        var portFlag: String
    }

    /// Binds each address briefly; with port 0 any free port of the host.
    ///
    /// - Throws: ``PlatformError`` `setup`: one line that names the flag and what to do.
    static func check(_ addresses: [Address]) async throws {
        for address in addresses {
            let numeric: String
            do {
                numeric = try await HostLookup.address(of: address.host)
            } catch let error as PlatformError where error.code == .setup {
                throw PlatformError(
                    .setup, "\(error.message); choose an address of this machine with \(address.hostFlag)", cause: error
                )
            }
            do {
                let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                    .bind(host: numeric, port: address.port).get()
                try await channel.close()
            } catch {
                throw PlatformError(.setup, message(address, error), cause: error)
            }
        }
    }

    static func message(_ address: Address, _ error: any Error) -> String {
        let number = (error as? IOError)?.errnoCode
        let reason = number.map { HostLookup.reason(ofBind: $0) } ?? "this machine does not have that address"
        let advice =
            switch number {
            case EADDRINUSE: "stop the other program, or choose another port with \(address.portFlag)"
            case EACCES, EPERM: "choose another port with \(address.portFlag)"
            case EMFILE, ENFILE, ENOBUFS, ENOMEM: "then start again"
            default: "choose an address of this machine with \(address.hostFlag)"
            }
        let host = address.host.contains(":") ? "[\(address.host)]" : address.host
        return "cannot listen on \(host):\(address.port): \(reason); \(advice)"
    }
}
