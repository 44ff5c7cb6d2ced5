import Core
import NIOCore
import NIOPosix

/// Looks whether the ports can be had before anything else is started, so that a taken port disturbs no running pod.
enum PortCheck {
    /// - Throws: ``PlatformError`` `setup` that names the port and what to do.
    static func check(host: String, ports: [(number: Int, flag: String)]) async throws {
        for port in ports where port.number != 0 {
            do {
                let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                    .bind(host: host, port: port.number).get()
                try await channel.close()
            } catch {
                throw PlatformError(
                    .setup,
                    "cannot listen on \(host):\(port.number) (\(reason(error))); stop what listens there, or choose another with \(port.flag)",
                    cause: error)
            }
        }
    }

    private static func reason(_ error: any Error) -> String {
        guard let error = error as? IOError else { return "no address of this machine" }
        return switch error.errnoCode {
        case 98: "the port is taken"
        case 13: "no permission: ports below 1024 need root"
        default: "the system's error \(error.errnoCode)"
        }
    }
}
