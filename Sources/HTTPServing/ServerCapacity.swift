import Core
import NIOCore
import NIOHTTP1
import Synchronization

/// The limits that all servers of a process share: connections, and memory for the bodies that are being read (contract
/// N6). No caller can take all of either.
///
/// Each listener is a *door*. A few connections are kept for each, so that callers who take all others cannot lock out
/// the operator or the pods. Safe from any thread.
package final class ServerCapacity: Sendable {
    /// One listener.
    package struct Door: Sendable {
        let index: Int
    }

    /// How many of all connections a listener may have.
    package enum Share: Sendable {
        case all
        case quarter
    }

    /// The owner of a connection, where its number of connections is limited.
    enum Peer: Hashable {
        case address4(UInt32)
        /// The first 64 bits: a network of one subscriber.
        case address6(UInt64)
        /// The process at the other end of a unix socket: for pods, the supervisor of one pod.
        case process(Int32)
    }

    /// A connection's place, until it leaves.
    struct Place {
        let capacity: ServerCapacity
        let door: Int
        let peer: Peer?

        func leave() { capacity.leave(door, peer) }
    }

    private struct State {
        var limits: [Int] = []
        var counts: [Int] = []
        var peers: [Peer: Int] = [:]
    }

    private let total: Int
    private let reserve: Int
    private let trusted: [AddressRange]
    private let state = Mutex(State())
    private let bodies = Atomic<Int>(0)
    private let bodyLimit: Int
    private let refusals = Atomic<Int>(0)

    /// - Parameters:
    ///   - connections: all connections at once.
    ///   - bodies: bytes of bodies in memory at once.
    ///   - trustedProxies: addresses that may have more than a quarter of the connections. So may this machine itself.
    package init(
        connections: Int = Limits.connections, bodies: Int = Limits.bodiesInMemory, trustedProxies: [AddressRange] = []
    ) {
        self.total = max(1, connections)
        self.reserve = min(64, connections / 16)
        self.bodyLimit = bodies
        self.trusted = trustedProxies
    }

    /// Open connections of all listeners.
    package var connections: Int { state.withLock { $0.counts.reduce(0, +) } }

    /// Bytes of bodies in memory.
    package var bodyBytes: Int { bodies.load(ordering: .relaxed) }

    /// Registers a listener, which gets `share` of the connections.
    package func addDoor(share: Share) -> Door {
        state.withLock { state in
            state.counts.append(0)
            state.limits.append(share == .all ? total : max(1, total / 4))
            return Door(index: state.counts.count - 1)
        }
    }

    /// A place for a new connection; `nil` beyond a limit. To be called on its event loop.
    func enter(_ door: Door, channel: any Channel) -> Place? {
        let peer = peer(of: channel)
        return enter(door, peer) ? Place(capacity: self, door: door.index, peer: peer) : nil
    }

    func enter(_ door: Door, _ peer: Peer?) -> Bool {
        state.withLock { state in
            let count = state.counts[door.index]
            guard count < state.limits[door.index] else { return false }
            if count >= reserve {
                // The connections and the unused reserves of the other doors are not available to this one.
                let used = state.counts.indices.reduce(0) {
                    $0 + ($1 == door.index ? count : max(state.counts[$1], reserve))
                }
                guard used < total else { return false }
            }
            if let peer {
                let limit =
                    switch peer {
                    case .address4, .address6: max(1, total / 4)
                    case .process: max(8, state.limits[door.index] / 4)
                    }
                let own = state.peers[peer, default: 0]
                guard own < limit else { return false }
                state.peers[peer] = own + 1
            }
            state.counts[door.index] += 1
            return true
        }
    }

    fileprivate func leave(_ door: Int, _ peer: Peer?) {
        state.withLock { state in
            state.counts[door] -= 1
            guard let peer, let own = state.peers[peer] else { return }
            state.peers[peer] = own > 1 ? own - 1 : nil
        }
    }

    /// Counts bytes of a body that arrived; `false` where there is no memory for them. Large bodies may take three
    /// quarters of the memory, so that slow uploads do not keep small requests out.
    ///
    /// - Parameter held: what the same connection holds already.
    func takeBody(_ count: Int, besides held: Int) -> Bool {
        let limit = held + count > Limits.smallBody ? bodyLimit / 4 * 3 : bodyLimit
        guard bodies.add(count, ordering: .relaxed).newValue > limit else { return true }
        bodies.subtract(count, ordering: .relaxed)
        return false
    }

    func releaseBody(_ count: Int) { bodies.subtract(count, ordering: .relaxed) }

    static let bodiesFault = HTTPFault(
        PlatformError(.unavailable, "too many bodies are being received at once. Send this one again a little later"))

    /// Whether one more refused connection may stay open until its caller has read why. Needs a `finishRefusal`.
    func beginRefusal() -> Bool {
        guard refusals.add(1, ordering: .relaxed).newValue > 64 else { return true }
        refusals.subtract(1, ordering: .relaxed)
        return false
    }

    func finishRefusal() { refusals.subtract(1, ordering: .relaxed) }

    /// The other end of a connection. To be called on its event loop.
    func callerPeer(of channel: any Channel) -> CallerPeer {
        guard let remote = channel.remoteAddress, let address = AddressRange(remote) else {
            return CallerPeer(address: nil, isVersion6: false, isTrusted: true)
        }
        // This machine itself, unless others are named (contract R3).
        let isTrusted = (trusted.isEmpty ? AddressRange.loopback : trusted).contains { $0.contains(address) }
        // A version 6 address that maps a version 4 address is written like the latter.
        var text = remote.ipAddress ?? ""
        if address.isVersion4, let colon = text.lastIndex(of: ":") { text = String(text[text.index(after: colon)...]) }
        return CallerPeer(address: text, isVersion6: !address.isVersion4, isTrusted: isTrusted)
    }

    private func peer(of channel: any Channel) -> Peer? {
        guard let address = channel.remoteAddress else { return nil }
        let range = AddressRange(address)
        switch address {
        case .v4, .v6:
            guard let range, !AddressRange.loopback.contains(where: { $0.contains(range) }),
                !trusted.contains(where: { $0.contains(range) })
            else { return nil }
            return range.isVersion4 ? .address4(UInt32(truncatingIfNeeded: range.low)) : .address6(range.high)
        case .unixDomainSocket:
            return Self.process(at: channel).map(Peer.process)
        }
    }

    /// `struct ucred` of the system.
    private struct Credentials: Sendable {
        var process: Int32 = 0
        var user: UInt32 = 0
        var group: UInt32 = 0
    }

    private static func process(at channel: any Channel) -> Int32? {
        #if os(Linux)
            guard let provider = channel as? any SocketOptionProvider, channel.eventLoop.inEventLoop else { return nil }
            let option: EventLoopFuture<Credentials> = provider.unsafeGetSocketOption(
                level: .socket, name: NIOBSDSocket.Option(rawValue: 17))
            var credentials: Credentials?
            // On the event loop the future is complete at once.
            option.assumeIsolated().whenSuccess { credentials = $0 }
            return credentials.flatMap { $0.process > 0 ? $0.process : nil }
        #else
            return nil
        #endif
    }
}

/// Answers 503 on a connection beyond a limit, and closes it: at once where many are being refused.
final class ConnectionRefusal: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let answer: ByteBuffer = {
        let body =
            "{\"error\":{\"kind\":\"unavailable\",\"message\":\"too many connections are open. Try again a little later\"}}\n"
        return ByteBuffer(
            string:
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nAccess-Control-Allow-Origin: *\r\n"
                + "Retry-After: 1\r\nConnection: close\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }()

    private let capacity: ServerCapacity
    private let speaks: Bool
    private var timer: Scheduled<Void>?

    init(capacity: ServerCapacity) {
        self.capacity = capacity
        self.speaks = capacity.beginRefusal()
    }

    func channelActive(context: ChannelHandlerContext) {
        guard speaks else { return context.close(promise: nil) }
        context.writeAndFlush(wrapOutboundOut(Self.answer), promise: nil)
        context.close(mode: .output, promise: nil)
        // The bytes of the caller are read for a moment: if the connection were closed with bytes unread, the system
        // would discard the answer.
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(1)) { context.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { context.close(promise: nil) }
        if event is ChannelShouldQuiesceEvent { context.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        if speaks { capacity.finishRefusal() }
    }
}

@available(*, unavailable)
extension ConnectionRefusal: Sendable {}

/// An IP address, or all addresses with the same first bits (`10.0.0.0/8`).
package struct AddressRange: Sendable, Hashable {
    /// The address; version 4 in the last 32 bits.
    let high: UInt64
    let low: UInt64
    let isVersion4: Bool
    /// The number of significant bits.
    private let length: Int

    static let loopback = ["127.0.0.0/8", "::1"].compactMap { AddressRange($0) }

    /// `nil` for a text that is neither an IP address nor a range in CIDR notation.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = try? SocketAddress(ipAddress: String(first), port: 0),
            let whole = AddressRange(address)
        else { return nil }
        guard parts.count == 2 else {
            self = whole
            return
        }
        guard parts[1].utf8.allSatisfy({ (48...57).contains($0) }), let length = Int(parts[1]),
            (0...whole.length).contains(length)
        else { return nil }
        self.init(high: whole.high, low: whole.low, isVersion4: whole.isVersion4, length: length)
    }

    /// A version 6 address that maps a version 4 address is taken for the latter.
    init?(_ address: SocketAddress) {
        switch address {
        case .v4(let address):
            // After family and port in `sockaddr_in`.
            let value = withUnsafeBytes(of: address.address) {
                UInt32(bigEndian: $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
            }
            self.init(high: 0, low: UInt64(value), isVersion4: true, length: 32)
        case .v6(let address):
            // After family, port and flow in `sockaddr_in6`.
            let (high, low) = withUnsafeBytes(of: address.address) { bytes in
                (
                    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
                )
            }
            if high == 0, low >> 32 == 0xFFFF {
                self.init(high: 0, low: low & 0xFFFF_FFFF, isVersion4: true, length: 32)
            } else {
                self.init(high: high, low: low, isVersion4: false, length: 128)
            }
        case .unixDomainSocket:
            return nil
        }
    }

    private init(high: UInt64, low: UInt64, isVersion4: Bool, length: Int) {
        self.high = high
        self.low = low
        self.isVersion4 = isVersion4
        self.length = length
    }

    /// Whether an address is in the range.
    func contains(_ address: AddressRange) -> Bool {
        guard isVersion4 == address.isVersion4 else { return false }
        if isVersion4 { return length == 0 || (low ^ address.low) >> UInt64(32 - length) == 0 }
        let highLength = min(64, length)
        guard highLength == 0 || (high ^ address.high) >> UInt64(64 - highLength) == 0 else { return false }
        let lowLength = length - 64
        return lowLength <= 0 || (low ^ address.low) >> UInt64(64 - lowLength) == 0
    }
}
