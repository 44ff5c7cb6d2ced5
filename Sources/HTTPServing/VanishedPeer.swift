import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension Channel {
    /// Makes the system close the connection of a peer that has vanished without a packet, within 50 s (contract R13).
    /// To be called on the event loop; no effect on other sockets than TCP.
    func watchForVanishedPeer() {
        guard remoteAddress?.ipAddress != nil, let options = syncOptions else { return }
        // A probe after 20 s of silence, then one each 10 s; the third without an answer ends the connection. Where an
        // option cannot be set the connection has the system's own times.
        try? options.setOption(.socketOption(.so_keepalive), value: 1)
        try? options.setOption(.tcpOption(NIOBSDSocket.Option(rawValue: TCP_KEEPIDLE)), value: 20)
        try? options.setOption(.tcpOption(NIOBSDSocket.Option(rawValue: TCP_KEEPINTVL)), value: 10)
        try? options.setOption(.tcpOption(NIOBSDSocket.Option(rawValue: TCP_KEEPCNT)), value: 3)
    }

    /// Whether the peer has not acknowledged what was sent to it for so long that it must be gone: keep-alive probes
    /// are not sent while bytes are on the way. One that only does not read acknowledges them. To be called on the
    /// event loop, every 10 s.
    var hasVanished: Bool {
        #if os(Linux)
            guard remoteAddress?.ipAddress != nil, let provider = self as? any SocketOptionProvider else {
                return false
            }
            var info: tcp_info?
            // On the event loop the future is complete at once.
            provider.getTCPInfo().assumeIsolated().whenSuccess { info = $0 }
            return info.map { $0.tcpi_unacked > 0 && $0.tcpi_last_ack_recv > 40_000 } ?? false
        #else
            return false
        #endif
    }
}
