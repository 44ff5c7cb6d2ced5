import Core
import NIOCore
import NIOEmbedded

/// One connection between the platform and a container: the platform's end is a real channel with the dequeuer's
/// handlers, the other end a script.
///
/// `@unchecked Sendable`: confined to its world's thread, see `Schedule`.
final class Link: @unchecked Sendable {
    enum Piece {
        case bytes([UInt8])
        case end
    }

    let pod: SimulatedPod
    let door: Door
    fileprivate let world: World
    private var channel: EmbeddedChannel?
    private var received: [UInt8] = []
    /// The bytes on their way to the platform.
    private var outbox: [Piece] = []
    fileprivate var wantsRead = false
    /// The container's end is closed.
    private(set) var isHungUp = false
    /// The platform's end is closed.
    private(set) var isLeft = false
    private(set) var present: Exchange?
    private var exchanges = 0

    /// The number that represents the platform's end.
    let descriptor: CInt
    /// Bytes that the container's system received from the platform.
    private(set) var acknowledged: Int64 = 0
    /// The container closed while the current request was written: its bytes are lost.
    private var isDeadEnd = false

    init(_ pod: SimulatedPod, door: Door, descriptor: CInt) {
        self.pod = pod
        self.door = door
        self.descriptor = descriptor
        self.world = pod.world
    }

    func open(_ initialize: @Sendable (any Channel) -> EventLoopFuture<Void>) -> EventLoopFuture<any Channel> {
        let channel = EmbeddedChannel(handler: Wire(self), loop: world.embedded)
        self.channel = channel
        // A pod that was killed between connecting and now.
        if !pod.isAlive || pod.state != .running { hangUp() }
        return initialize(channel).flatMapThrowing {
            channel.connect(to: try SocketAddress(unixDomainSocketPath: "/simulation"), promise: nil)
            return channel
        }
    }

    // MARK: The platform's end

    /// Receives the bytes that the platform flushed.
    ///
    /// - Returns: `false` if no process receives them.
    fileprivate func take(_ bytes: ByteBuffer) -> Bool {
        // A server that closes a kept connection at the moment when it is used again.
        let isUsedAgain = present == nil && exchanges > 0 && received.isEmpty
        if isUsedAgain, !isHungUp, !world.isCalm, world.dice.chance(0.05) {
            isDeadEnd = world.dice.chance(0.5)
            if isDeadEnd { world.history.count(.unseenRequest) }
            hangUp()
        }
        if isDeadEnd { return true }
        guard !isHungUp else { return false }
        received += bytes.readableBytesView
        acknowledged += Int64(bytes.readableBytes)
        if present == nil { readRequest() } else { readBody() }
        return true
    }

    fileprivate func noteDeadWrite() {
        world.history.count(.deadKeptConnection)
        world.ledger.refusals[pod.id] = world.schedule.elapsed
    }

    fileprivate func closedByPlatform() {
        guard !isLeft else { return }
        isLeft = true
        pod.links.removeAll { $0 === self }
        guard let exchange = present else { return }
        present = nil
        pod.inside -= 1
        exchange.isOver = true
        world.history.note(pod.id, "\(world.ledger.name(exchange.id)): its connection is closed")
    }

    /// The platform's process has ended, and its sockets with it.
    func platformLeaves() {
        closedByPlatform()
        guard let channel, channel.isActive else { return }
        channel.close(promise: nil)
    }

    fileprivate func schedulePump() {
        world.schedule.soon { [self] in pump() }
    }

    private func pump() {
        guard wantsRead, !isLeft, !outbox.isEmpty, let channel, channel.isActive else { return }
        wantsRead = false
        switch outbox.removeFirst() {
        case .bytes(let bytes):
            channel.pipeline.syncOperations.fireChannelRead(NIOAny(ByteBuffer(bytes: bytes)))
            channel.pipeline.syncOperations.fireChannelReadComplete()
        case .end:
            isLeft = true
            channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
            channel.close(promise: nil)
            world.stir()
        }
    }

    // MARK: The container's end

    private func send(_ piece: Piece) {
        guard !isHungUp, !isLeft else { return }
        outbox.append(piece)
        if case .end = piece { isHungUp = true }
        schedulePump()
    }

    func send(_ text: String) { send(.bytes(Array(text.utf8))) }

    /// Closes the container's end. The requests inside are lost.
    func hangUp() {
        pod.links.removeAll { $0 === self }
        guard !isHungUp, !isLeft else { return }
        if let exchange = present {
            present = nil
            pod.inside -= 1
            exchange.isOver = true
            world.history.count(.hungUp)
            world.history.note(pod.id, "\(world.ledger.name(exchange.id)): hangs up")
            world.ledger.excuse(exchange.id, .replicaLost)
        }
        send(.end)
        isHungUp = true
    }

    /// The whole answer was sent.
    func answered() {
        guard let exchange = present else { return }
        present = nil
        pod.inside -= 1
        exchange.isOver = true
        if !received.isEmpty { readRequest() }
    }

    private func readRequest() {
        guard let end = received.indexOfHeadEnd() else { return }
        let head = String(decoding: received[..<end], as: UTF8.self).split(separator: "\r\n")
        received.removeFirst(end + 4)
        var id: RequestID?
        var length = 0
        for line in head {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            switch parts[0].lowercased() {
            case "x-cortex-request-id": id = RequestID(String(parts[1].drop { $0 == " " }))
            case "content-length": length = Int(parts[1].drop { $0 == " " }) ?? 0
            default: break
            }
        }
        world.ledger.expect(head.first == "POST / HTTP/1.1", "C1", "a container got \(head.first ?? "nothing")")
        guard let id, let known = world.ledger[id] else {
            return world.ledger.expect(false, "C3", "a request without a known X-Cortex-Request-ID")
        }
        pod.inside += 1
        exchanges += 1
        if exchanges > 1 { world.history.count(.keptConnection) }
        let exchange = Exchange(id: id, length: length, link: self)
        present = exchange
        world.history.note(pod.id, "gets \(known.name) (\(pod.inside) inside)")
        world.ledger.expect(
            pod.inside <= world.scenario.maxConcurrency, "C11", "\(pod.inside) requests are inside \(pod.id)")
        world.ledger.expect(door.isReady(pod.id), "C7", "\(pod.id) gets \(known.name) although it is not ready")
        world.ledger.expect(!door.isDead, "C13", "a platform that is gone sent \(known.name)")
        readBody()
    }

    private func readBody() {
        guard let exchange = present, !exchange.isComplete, received.count >= exchange.length else { return }
        exchange.isComplete = true
        let body = Array(received[..<exchange.length])
        received.removeFirst(exchange.length)
        world.ledger.expect(
            body == world.ledger[exchange.id]?.payload, "C2",
            "\(world.ledger.name(exchange.id)) arrived with another body: \(String(decoding: body, as: UTF8.self))")
        exchange.behave(world)
    }
}

/// The end of a channel: passes written bytes to the container, and reports when the platform reads or closes.
private final class Wire: ChannelOutboundHandler {
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    private let link: Link
    private var written: [(ByteBuffer, EventLoopPromise<Void>?)] = []

    init(_ link: Link) { self.link = link }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .byteBuffer(let buffer) = unwrapOutboundIn(data) else {
            promise?.fail(ChannelError.operationUnsupported)
            return
        }
        written.append((buffer, promise))
    }

    func flush(context: ChannelHandlerContext) {
        let flushed = written
        written = []
        var isBroken = false
        for (buffer, promise) in flushed {
            if link.take(buffer) {
                promise?.succeed(())
            } else {
                isBroken = true
                promise?.fail(ChannelError.ioOnClosedChannel)
            }
        }
        if isBroken {
            link.world.stir()
            link.noteDeadWrite()
            link.closedByPlatform()
            context.close(promise: nil)
        }
    }

    func read(context: ChannelHandlerContext) {
        link.wantsRead = true
        link.schedulePump()
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        link.closedByPlatform()
        link.world.stir()
        context.close(mode: mode, promise: promise)
    }
}

extension [UInt8] {
    /// The beginning of the blank line after an HTTP head.
    fileprivate func indexOfHeadEnd() -> Int? {
        guard count >= 4 else { return nil }
        return withUnsafeBufferPointer { bytes in
            for index in 0...bytes.count - 4 where bytes[index] == 13 {
                if bytes[index + 1] == 10, bytes[index + 2] == 13, bytes[index + 3] == 10 { return index }
            }
            return nil
        }
    }
}
