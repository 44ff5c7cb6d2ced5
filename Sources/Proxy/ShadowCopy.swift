import ContainerHTTP
import Core
import NIOCore
import NIOHTTP1

/// A copy of a request for a splitter's shadow (contract X7). Its response is compared with the served one and dropped.
/// It has no influence on the served request, and is given up when it is too far behind.
///
/// `@unchecked Sendable`: all mutable state is used on the event loop of the served exchange only. ``assigned(_:)`` and
/// ``refused(_:)``, which are called from any thread, only go there.
final class ShadowCopy: GateWaiter, ContainerLinkUser, DeadlineKeeper, @unchecked Sendable {
    /// Bytes of the request that wait to be sent.
    private static let limit = 256 * 1024
    /// A response that pauses for longer is given up.
    private static let silence: Duration = .seconds(60)

    private let endpoint: RealtimeEndpoint
    private let splitter: SplitterState
    private let services: ProxyServices
    private var loop: (any EventLoop)?
    private var head: HTTPRequestHead?
    private var pieces: [ByteBuffer] = []
    private var waitingBytes = 0
    private var isRequestOver = false
    private var slot: ReplicaSlot?
    private var link: ContainerLink?
    private var opening: LinkRequest?
    private var isOver = false
    private var status: UInt?
    private var body = BodyHash()
    private var servedStatus: UInt?
    private var servedBody = BodyHash()
    private var isServedOver = false
    private var isCopyOver = false

    var watchIndex: Int?
    private(set) var deadline = Instant(microseconds: .max)

    init(to endpoint: RealtimeEndpoint, of splitter: SplitterState, services: ProxyServices) {
        self.endpoint = endpoint
        self.splitter = splitter
        self.services = services
    }

    private var policy: EndpointPolicy { endpoint.policy }
    private var now: Instant { services.clock.instant() }

    // MARK: The served exchange

    /// - Parameter head: what the served container gets.
    func begin(_ head: HTTPRequestHead, on loop: any EventLoop) {
        self.loop = loop
        var head = head
        head.headers.add(name: "X-Cortex-Shadow", value: "true")
        // The body of the served request is not held back for the shadow.
        head.headers.remove(name: "Expect")
        self.head = head
        let now = now
        switch endpoint.gate.enter(self, key: nil, mayWait: policy.proxy.maxQueueTime > .zero, now: now) {
        case .assigned(let slot): start(slot)
        case .waiting: watch(until: now + policy.proxy.maxQueueTime)
        case .refused: giveUp()
        }
    }

    func received(_ bytes: ByteBuffer) {
        guard !isOver else { return }
        waitingBytes += bytes.readableBytes
        pieces.append(bytes)
        guard waitingBytes <= Self.limit else { return giveUp() }
        send()
    }

    func receivedEnd() {
        isRequestOver = true
        send()
    }

    func served(_ bytes: ByteBuffer) { servedBody.add(bytes) }

    /// The served response is complete.
    func served(status: UInt) {
        servedStatus = status
        compare()
    }

    /// The served exchange is over.
    func servedEnded() {
        isServedOver = true
        // Without a complete request there is nothing to complete the copy with.
        if !isRequestOver { return giveUp() }
        if servedStatus == nil, isCopyOver { giveUp() }
    }

    /// Ends the copy, and counts it.
    func giveUp() {
        guard !isOver else { return }
        finish()
        splitter.record(copy: .givenUp)
    }

    private func compare() {
        guard !isOver, isCopyOver, let status, let servedStatus else { return }
        finish()
        splitter.record(copy: .compared(sameStatus: status == servedStatus, sameBody: body == servedBody))
    }

    // MARK: The shadow's replica

    func assigned(_ slot: ReplicaSlot) {
        loop?.execute {
            guard !self.isOver, self.slot == nil else { return self.endpoint.gate.end(slot, now: self.now) }
            self.start(slot)
        }
    }

    func refused(_ refusal: GateRefusal) {
        loop?.execute { self.giveUp() }
    }

    private func start(_ slot: ReplicaSlot) {
        self.slot = slot
        watch(until: now + policy.proxy.timeout)
        guard let loop else { return }
        // Whether the copy was seen does not matter, because it is not sent again.
        opening = slot.replica.connections.link(
            for: slot, on: loop, mayReuse: isRequestOver, limit: policy.maxConcurrency, transport: services.transport
        ) { link in
            if let link { self.begin(on: link) } else { self.giveUp() }
        }
    }

    private func begin(on link: ContainerLink) {
        guard let head else { return }
        self.link = link
        link.send(head, for: self)
        send()
        link.flush()
    }

    private func send() {
        guard let link, !isOver else { return }
        for piece in pieces { link.send(piece) }
        // What the socket does not take is still behind.
        if link.isWritable { waitingBytes = 0 }
        pieces = []
        if isRequestOver { link.sendEnd(nil) }
        link.flush()
    }

    func linkReceived(interim head: HTTPResponseHead) {}

    func linkReceived(_ head: HTTPResponseHead) {
        if head.status == .switchingProtocols { return giveUp() }
        status = head.status.code
        deadline = now + Self.silence
    }

    func linkReceived(_ bytes: ByteBuffer) {
        body.add(bytes)
        deadline = now + Self.silence
    }

    func linkReceivedEnd(_ trailers: HTTPHeaders?) {
        isCopyOver = true
        endpoint.gate.record(
            status: Int(status ?? 0), isByPlatform: false, slot: slot, arrival: slot?.startedAt ?? now, now: now)
        returnSlot()
        if isServedOver, servedStatus == nil { return giveUp() }
        compare()
    }

    func linkReadEnded() {}

    func linkWritabilityChanged() {
        if link?.isWritable == true { waitingBytes = 0 }
    }

    func linkLost(_ loss: ContainerConnection.Loss) { giveUp() }

    // MARK: The end

    func deadlineReached(_ now: Instant) {
        if slot == nil, !endpoint.gate.leave(self) {
            // A slot is on its way and will be returned.
            deadline = Instant(microseconds: .max)
        }
        giveUp()
    }

    private func watch(until deadline: Instant) {
        self.deadline = deadline
        if let loop { services.loops.of(loop).watch(self) }
    }

    private func finish() {
        isOver = true
        opening?.cancel()
        pieces = []
        if slot == nil, head != nil, !isCopyOver { _ = endpoint.gate.leave(self) }
        link?.close()
        returnSlot()
        if let loop { services.loops.of(loop).forget(self) }
    }

    private func returnSlot() {
        guard let loop, let slot = slot.take() else { return }
        endpoint.gate.end(slot, returning: link.take(), on: loop, clock: services.clock)
    }
}

/// Identifies the bytes of a body, in whatever pieces they come.
struct BodyHash: Equatable {
    private var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    private var count = 0

    mutating func add(_ bytes: ByteBuffer) {
        count += bytes.readableBytes
        bytes.withUnsafeReadableBytes { bytes in
            for byte in bytes {
                hash ^= UInt64(byte)
                hash = hash &* 0x0000_0100_0000_01B3
            }
        }
    }
}
