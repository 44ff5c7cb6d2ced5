import ContainerHTTP
import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import Synchronization

/// One request to a RealtimeAPI and its response: waits at the gate, sends the request into a container, and the
/// response to the caller, each as it arrives (contract R1 … R18).
///
/// ```
/// receiving ──▶ waiting ──▶ connecting ──▶ sent ──▶ responding ──▶ over
///     │            ▲            │           │   └──▶ tunnel ───────▶ │
///     │            └── no container can have seen it ──┘            │
///     └──── refused, failed, or the caller is gone ─────────────────┘
/// ```
///
/// It has no task. It holds the request's bytes while they may have to be sent again (``Limits/proxyResend``),
/// otherwise only what one side has not taken yet.
///
/// One file, although it is long: every function changes the same state.
///
/// `@unchecked Sendable`: all mutable state is used on the caller's event loop only. ``assigned(_:)`` and
/// ``refused(_:)``, which are called from any thread, only go there.
final class Exchange: ServerExchange, GateWaiter, ContainerLinkUser, DeadlineKeeper, @unchecked Sendable {
    private enum Phase {
        /// The request arrives, and is not yet at the gate.
        case receiving
        case waiting
        case connecting
        /// The request, or its beginning, was sent; nothing of the final response has arrived.
        case sent
        /// The head of the response was sent to the caller.
        case responding
        /// Bytes pass in both directions.
        case tunnel
        case over
    }

    let loop: any EventLoop
    private let caller: ExchangeCaller
    private let route: Route
    private let proxyLoop: ProxyLoop
    private let arrivedAt: Instant
    private let id: String
    private let request: RequestHead
    private let cors: HTTPHeaders?
    private var policy: EndpointPolicy { route.policy }

    private var phase = Phase.receiving
    /// Why the request is refused before it reaches the gate.
    private var refusal: ProxyFailure?
    private var origin = "api"

    // The request's body: what has arrived, as long as it may be needed.
    private var pieces: [ByteBuffer] = []
    private var pieceBytes = 0
    /// The number of pieces that were sent on the present connection.
    private var sentPieces = 0
    private var received: Int64 = 0
    private var isRequestOver = false
    private var trailers: HTTPHeaders?
    private var isCallerHeld = false

    private var slot: ReplicaSlot?
    private var link: ContainerLink?
    private var opening: LinkRequest?
    private var attempts = 0
    /// Replicas that refused this request.
    private var tried: Set<String> = []
    private var isRetrying = false
    /// A container may have seen the request, so that no other API may get it (contract X6).
    private var mayBeSeen = false
    /// The rest of the request cannot be read, so no other request can follow on the caller's connection.
    private var isRequestBroken = false

    private var response: ResponseHead?
    private var hasContinued = false
    /// The head of a response of status 101, which the decoder ends at once.
    private var switching: HTTPResponseHead?
    private var isStatusRecorded = false
    private var tunnel: Tunnel?

    var watchIndex: Int?
    /// Its place among the exchanges of its event loop; `nil`: it is not among them.
    var loopIndex: Int?
    private(set) var deadline = Instant(microseconds: .max)
    private var phaseEnd = Instant(microseconds: .max)
    /// When the platform sends 100 in place of the container (contract R7).
    private var continueAt: Instant?
    private var lastByte: Instant

    init(
        _ request: RequestHead, refusal: ProxyFailure?, id: String, route: Route, cors: HTTPHeaders?,
        caller: ExchangeCaller
    ) {
        self.request = request
        self.refusal = refusal
        self.id = id
        self.route = route
        self.cors = cors
        self.caller = caller
        self.loop = caller.eventLoop
        self.proxyLoop = route.services.loops.of(caller.eventLoop)
        self.arrivedAt = route.services.clock.instant()
        self.lastByte = arrivedAt
    }

    private var now: Instant { route.services.clock.instant() }

    // MARK: The caller's request

    func received(_ bytes: ByteBuffer) {
        let count = bytes.readableBytes
        guard phase != .over, count > 0 else { return }
        received += Int64(count)
        if let limit = policy.proxy.maxPayload, received > limit {
            return fail(.payloadTooLarge(limit: limit))
        }
        moved()
        route.shadow?.received(bytes)
        pieces.append(bytes)
        pieceBytes += count
        sendPieces()
        holdCallerIfNeeded()
    }

    func receivedEnd(_ trailers: HTTPHeaders?) {
        guard phase != .over else { return }
        if let name = trailers.flatMap(ResponseHead.invalidField) {
            // The container gets an incomplete request, and so does the shadow.
            isRequestBroken = true
            return fail(.value(name))
        }
        isRequestOver = true
        route.shadow?.receivedEnd()
        self.trailers = ResponseHead.trailers(trailers)
        if phase == .receiving { return enter() }
        sendPieces()
    }

    func readEnded() {
        switch phase {
        case .receiving: enter()
        case .sent, .responding: link?.flush()
        case .waiting, .connecting, .tunnel, .over: break
        }
    }

    func requestFailed(_ fault: HTTPFault) {
        isRequestBroken = true
        fail(.request(fault))
    }

    func callerGone() {
        guard phase != .over else { return }
        // A slot that is on its way is returned when it comes.
        if phase == .waiting { _ = route.gate.leave(self) }
        finish()
    }

    func writabilityChanged() {
        if caller.isWritable { link?.resumeReading() }
    }

    /// The caller is not read while the container takes no more, and while more than can be sent again waits.
    private func holdCallerIfNeeded() {
        let isHeld: Bool
        switch phase {
        case .receiving, .waiting, .connecting: isHeld = pieceBytes > Limits.proxyResend
        case .sent, .responding: isHeld = link.map { !$0.isWritable } ?? false
        case .tunnel, .over: isHeld = false
        }
        guard isHeld != isCallerHeld else { return }
        isCallerHeld = isHeld
        if isHeld { caller.holdReading() } else { caller.resumeReading() }
    }

    // MARK: The gate

    private func enter() {
        if let refusal { return fail(refusal) }
        route.begin(request, on: self)
        if caller.isLeaving, request.offersUpgrade { return fail(.shutdown) }
        let now = arrivedAt
        phase = .waiting
        proxyLoop.add(self)
        received(route.gate.enter(self, key: route.key, mayWait: policy.proxy.maxQueueTime > .zero, now: now), now)
    }

    private func received(_ admission: Gate.Admission, _ now: Instant) {
        switch admission {
        case .assigned(let slot):
            start(slot, now)
        case .waiting(let hasReplica):
            if !hasReplica { origin = "activator" }
            phaseEnd = arrivedAt + policy.proxy.maxQueueTime
            watch()
            holdCallerIfNeeded()
        case .refused(let refusal):
            refuse(refusal)
        }
    }

    func assigned(_ slot: ReplicaSlot) {
        loop.execute {
            guard self.phase == .waiting else { return self.route.gate.end(slot, now: self.now) }
            self.start(slot, self.now)
        }
    }

    func refused(_ refusal: GateRefusal) {
        loop.execute {
            guard self.phase == .waiting else { return }
            self.refuse(refusal)
        }
    }

    private func refuse(_ refusal: GateRefusal) {
        switch refusal {
        case .queueFull, .noReplica:
            if !mayBeSeen, let next = route.nextTarget(failed: .serviceUnavailable, arrival: arrivedAt, now: now) {
                return follow(next)
            }
        case .noFreeSlot, .deleted, .shutdown: break
        }
        fail(ProxyFailure(refusal, maxQueueTime: policy.proxy.maxQueueTime))
    }

    // MARK: Connection

    private func start(_ slot: ReplicaSlot, _ now: Instant) {
        self.slot = slot
        attempts += 1
        phase = .connecting
        phaseEnd = now + policy.proxy.timeout
        lastByte = now
        watch()
        // Only a request that is complete and can be sent again may meet a connection that is about to be closed, and
        // only once: a container may have closed several at the same time.
        let mayReuse = attempts == 1 && isRequestOver && pieceBytes <= Limits.proxyResend && !request.offersUpgrade
        holdCallerIfNeeded()
        opening = slot.replica.connections.link(
            for: slot, on: loop, mayReuse: mayReuse, limit: policy.maxConcurrency, transport: route.services.transport
        ) { link in
            if let link { return self.send(on: link) }
            self.route.gate.refused(by: slot, now: self.now)
            self.retry(
                for: .unreachable,
                or: .unreachable(port: slot.replica.ready.api.specification.pod.port, attempts: self.attempts))
        }
    }

    private func send(on link: ContainerLink) {
        self.link = link
        phase = .sent
        sentPieces = 0
        link.send(request.forContainer, for: self)
        if request.expectsContinue, !hasContinued {
            continueAt = now + Limits.proxyContinue
            watch()
        }
        sendPieces()
        link.flush()
        holdCallerIfNeeded()
    }

    /// Sends the pieces that were not sent on this connection.
    private func sendPieces() {
        guard let link, phase == .sent || phase == .responding else { return }
        while sentPieces < pieces.count {
            link.send(pieces[sentPieces])
            sentPieces += 1
        }
        if pieceBytes > Limits.proxyResend || phase == .responding {
            // It will not be sent again.
            pieces = []
            sentPieces = 0
        }
        if isRequestOver {
            link.sendEnd(trailers)
            link.flush()
        }
    }

    // MARK: Retries

    /// Whether the whole request is here and can be sent again.
    private var canResend: Bool { isRequestOver && pieceBytes <= Limits.proxyResend && response == nil }

    /// Sends the request again on a new connection, because its container had closed the kept one. That is possible
    /// once, and neither the API's `retries` nor the number of other retries limits it (contract R15).
    private func replaceKeptConnection(or failure: ProxyFailure) {
        guard let slot, canResend else { return fail(failure) }
        leave(slot)
        enterAgain()
    }

    /// Returns a slot in which the request was not answered.
    private func leave(_ slot: ReplicaSlot) {
        tried.insert(slot.replica.id)
        dropLink()
        continueAt = nil
        self.slot = nil
        route.gate.end(slot, now: now)
        phase = .waiting
    }

    /// Sends the request again, or answers `failure` where that is not permitted (contract R15).
    private func retry(for reason: RetryPolicy.Reason, or failure: ProxyFailure) {
        if mayRetry(for: reason) { return again(after: reason) }
        if reason == .unreachable, !mayBeSeen, link == nil,
            let next = route.nextTarget(failed: failure.status, arrival: arrivedAt, now: now)
        {
            return follow(next)
        }
        fail(failure)
    }

    /// Whether the request may be sent again; if so, it takes part in the limit of retries.
    private func mayRetry(for reason: RetryPolicy.Reason) -> Bool {
        let retries = policy.proxy.retries
        guard retries.on.contains(reason), attempts < retries.maxAttempts, canResend || link == nil,
            reason == .unreachable || request.isIdempotent, isRetrying || route.endpoint.beginRetry()
        else { return false }
        isRetrying = true
        return true
    }

    private func again(after reason: RetryPolicy.Reason) {
        guard let slot else { return }
        if reason != .unreachable { mayBeSeen = true }
        leave(slot)
        let backoff = policy.proxy.retries.backoff
        guard backoff > .zero else { return enterAgain() }
        // Doubles with each further attempt.
        let delay = backoff * (1 << min(attempts - 1, 16))
        phaseEnd = Instant(microseconds: .max)
        watch()
        loop.assumeIsolated().scheduleTask(in: TimeAmount(min(delay, Limits.retryBackoff))) {
            guard self.phase == .waiting, self.slot == nil else { return }
            self.enterAgain()
        }
    }

    private func enterAgain() {
        let now = now
        let admission = route.gate.enterAgain(self, key: route.key, avoiding: tried, now: now)
        if case .waiting = admission { phaseEnd = now + policy.proxy.maxQueueTime }
        switch admission {
        case .assigned(let slot): start(slot, now)
        case .waiting: watch()
        case .refused(let refusal): refuse(refusal)
        }
    }

    /// Goes to another target of a splitter, which becomes this request's API.
    private func follow(_ next: Route.Target) {
        if let slot {
            dropLink()
            self.slot = nil
            route.gate.end(slot, now: now)
        }
        endRetry()
        tried = []
        attempts = 0
        route.use(next)
        phase = .waiting
        let now = now
        received(route.gate.enter(self, key: route.key, mayWait: policy.proxy.maxQueueTime > .zero, now: now), now)
    }

    // MARK: The container's response

    func linkReceived(interim head: HTTPResponseHead) {
        moved()
        guard phase == .sent else { return }
        if let name = ResponseHead.invalidField(in: head.headers) { return fail(.malformedValue(of: name)) }
        guard !request.isOld else { return }
        if head.status == .continue {
            guard !hasContinued else { return }
            sendContinue(ResponseHead.interim(head))
        } else {
            caller.write(ResponseHead.interim(head))
        }
    }

    private func sendContinue(_ head: HTTPResponseHead) {
        hasContinued = true
        continueAt = nil
        caller.write(head)
    }

    func linkReceived(_ head: HTTPResponseHead) {
        guard phase == .sent else { return }
        if head.status == .switchingProtocols {
            guard request.offersUpgrade, isRequestOver else {
                return fail(.malformed("it switches protocols (status 101), which was not asked for"))
            }
            switching = head
            return
        }
        if head.status.code >= 500, mayRetry(for: .status5xx) { return again(after: .status5xx) }
        do {
            try respond(head)
        } catch {
            fail(error)
        }
    }

    private func respond(_ head: HTTPResponseHead) throws(ProxyFailure) {
        let response = try ResponseHead(
            head, to: request, mayKeepAlive: mayKeepAlive, adding: additions)
        self.response = response
        phase = .responding
        continueAt = nil
        phaseEnd = Instant(microseconds: .max)
        record(status: Int(head.status.code), isByPlatform: false)
        moved()
        watch()
        caller.responseBegan()
        caller.write(response.head)
        // A slow upload may still be held.
        holdCallerIfNeeded()
    }

    private var additions: ResponseHead.Additions {
        ResponseHead.Additions(
            id: id, origin: origin, date: caller.date, extra: route.responseFields(attempts: attempts), cors: cors)
    }

    /// Whether request and connection permit another request behind this one. The rest of a request that is answered
    /// early is read if it is known to be small (contract R8).
    private var mayKeepAlive: Bool {
        guard request.mayKeepAlive, !isRequestBroken, !caller.isLeaving, !caller.isParsingOver else { return false }
        if isRequestOver { return true }
        guard case .length(let length) = request.framing, !request.expectsContinue || hasContinued else { return false }
        return length - received <= Int64(Limits.proxyResend)
    }

    func linkReceived(_ bytes: ByteBuffer) {
        guard phase == .responding, response?.framing != ResponseHead.Framing.none else { return }
        moved()
        route.shadow?.served(bytes)
        caller.write(bytes)
    }

    func linkReceivedEnd(_ trailers: HTTPHeaders?) {
        if let switching, let link, phase == .sent { return upgrade(switching, link) }
        guard phase == .responding, let response else { return }
        if trailers.flatMap(ResponseHead.invalidField) != nil {
            dropLink()
            caller.flush()
            return cutOff()
        }
        route.shadow?.served(status: response.head.status.code)
        let isChunked = response.framing == .chunked
        caller.writeEnd(isChunked ? ResponseHead.trailers(trailers) : nil)
        end(keepAlive: response.mayKeepAlive)
    }

    func linkReadEnded() {
        guard phase == .sent || phase == .responding else { return }
        caller.flush()
        if !caller.isWritable { link?.holdReading() }
    }

    func linkWritabilityChanged() {
        holdCallerIfNeeded()
    }

    func linkLost(_ loss: ContainerConnection.Loss) {
        let (isUnseen, isWritten) = link.map { ($0.isRequestUnseen, $0.isHeadWritten) } ?? (false, false)
        switch phase {
        case .sent:
            switch loss {
            case .closed:
                let failure = ProxyFailure.lost(
                    slot?.replica.ready.activity.cutReason?.explanation ?? "the container closed the connection")
                // Before its head is written nothing of a request has left this process.
                if isUnseen, isWritten { return replaceKeptConnection(or: failure) }
                if !isWritten { return retry(for: .unreachable, or: failure) }
                fail(failure)
            case .malformed(let reason): fail(.malformed(reason))
            case .headTooLarge(let reason):
                fail(.malformed(reason, type: "http_response_header_section_size"))
            }
        case .responding:
            // The response must not look complete (contract R9).
            caller.flush()
            cutOff()
        case .receiving, .waiting, .connecting, .tunnel, .over: break
        }
    }

    // MARK: Upgrade

    private func upgrade(_ head: HTTPResponseHead, _ link: ContainerLink) {
        let hasIdleTimeout = policy.proxy.idleTimeout != nil
        let (callers, containers) = Tunnel.pair(onActivity: hasIdleTimeout ? { [weak self] in self?.moved() } : nil)
        do {
            let response = try ResponseHead(head, to: request, mayKeepAlive: false, adding: additions)
            self.response = response
            phase = .tunnel
            continueAt = nil
            phaseEnd = Instant(microseconds: .max)
            record(status: Int(head.status.code), isByPlatform: false)
            caller.responseBegan()
            caller.write(response.head)
            caller.writeEnd()
            caller.flush()
            // Both sides are in their channels before either gets a byte.
            try link.handOver { channel in
                try channel.pipeline.syncOperations.addHandler(containers)
                channel.closeFuture.assumeIsolated().whenComplete { _ in self.tunnelEnded() }
                try self.caller.handOver { [callers = NIOLoopBound(callers, eventLoop: self.loop)] channel in
                    try channel.pipeline.syncOperations.addHandler(callers.value)
                }
            }
            self.link = nil
            tunnel = callers
            if let slot { route.gate.upgraded(slot) }
            moved()
            if hasIdleTimeout { watch() } else { proxyLoop.forget(self) }
        } catch let failure as ProxyFailure {
            fail(failure)
        } catch {
            containers.close()
            link.close()
            cutOff()
        }
    }

    private func tunnelEnded() {
        tunnel?.close()
        tunnel = nil
        finish()
    }

    // MARK: Time

    /// A byte moved in either direction.
    private func moved() {
        if policy.proxy.idleTimeout != nil { lastByte = now }
    }

    /// Sets the deadline by the present phase.
    private func watch() {
        deadline = phaseEnd
        if let continueAt { deadline = min(deadline, continueAt) }
        if let idle = policy.proxy.idleTimeout, phase != .waiting { deadline = min(deadline, lastByte + idle) }
        if deadline.microseconds < .max { proxyLoop.watch(self) } else { proxyLoop.forget(self) }
    }

    func deadlineReached(_ now: Instant) {
        if let at = continueAt, at <= now {
            sendContinue(HTTPResponseHead(version: .http1_1, status: .continue))
            caller.flush()
        } else if phaseEnd <= now {
            switch phase {
            case .waiting:
                // Otherwise a slot is on its way.
                guard route.gate.leave(self) else { break }
                return fail(.queueTimeout(policy.proxy.maxQueueTime))
            case .connecting, .sent:
                return retryTimeout()
            case .receiving, .responding, .tunnel, .over: break
            }
            phaseEnd = Instant(microseconds: .max)
        } else if let idle = policy.proxy.idleTimeout, lastByte + idle <= now {
            switch phase {
            case .connecting, .sent: return fail(.timeout(idle, idle: true))
            case .responding: return cutOff()
            case .tunnel:
                tunnel?.close()
                return
            case .receiving, .waiting, .over: break
            }
        }
        watch()
    }

    private func retryTimeout() {
        let failure = ProxyFailure.timeout(policy.proxy.timeout, idle: false)
        guard link != nil, policy.proxy.retries.on.contains(.timeout) else { return fail(failure) }
        retry(for: .timeout, or: failure)
    }

    // MARK: The end

    /// The requests inside the replica end now (contract C13).
    func cut() {
        switch phase {
        case .connecting, .sent:
            fail(.lost(slot?.replica.ready.activity.cutReason?.explanation ?? "the replica was stopped"))
        case .responding: cutOff()
        case .tunnel: tunnel?.close()
        case .receiving, .waiting, .over: break
        }
    }

    /// Ends the exchange of a caller that has vanished without a packet (contract R13). To be called every 10 s.
    func checkCaller() {
        guard phase != .over, caller.hasVanished else { return }
        if phase == .tunnel {
            tunnel?.close()
        } else {
            callerGone()
            caller.abort()
        }
    }

    /// Whether the exchange is inside the replica with this activity.
    func isInside(_ activity: any ReplicaActivity) -> Bool { slot?.replica.ready.activity === activity }

    func isOf(_ endpoint: RealtimeEndpoint) -> Bool { route.endpoint === endpoint }

    /// Answers a failure, or cuts a response off that has begun.
    private func fail(_ failure: ProxyFailure) {
        guard phase != .over else { return }
        if phase == .responding || phase == .tunnel { return cutOff() }
        record(status: Int(failure.status.code), isByPlatform: true)
        let body = failure.body
        let keepAlive = mayKeepAlive
        var fields = failure.fields(length: body?.readableBytes)
        if let cors {
            fields.add(contentsOf: cors)
        } else {
            fields.add(name: "Access-Control-Allow-Origin", value: "*")
        }
        if !keepAlive {
            fields.add(name: "Connection", value: "close")
        } else if request.isOld {
            fields.add(name: "Connection", value: "keep-alive")
        }
        fields.add(name: "X-Cortex-Request-ID", value: id)
        fields.add(name: "X-Cortex-Origin", value: "gateway")
        fields.add(name: "Date", value: caller.date)
        for (name, value) in route.responseFields(attempts: attempts) { fields.add(name: name, value: value) }
        dropLink()
        caller.write(HTTPResponseHead(version: .http1_1, status: failure.status, headers: fields))
        if let body, !request.isHead { caller.write(body) }
        caller.writeEnd()
        end(keepAlive: keepAlive)
    }

    /// All of the response is written.
    private func end(keepAlive: Bool) {
        finish()
        caller.finish(keepAlive: keepAlive)
    }

    /// Closes the caller's connection, so that its response looks incomplete.
    private func cutOff() {
        finish()
        caller.abort(reset: response?.framing == .close)
    }

    /// Returns everything that the exchange holds. Nothing happens afterwards.
    private func finish() {
        guard phase != .over else { return }
        phase = .over
        proxyLoop.remove(self)
        opening?.cancel()
        pieces = []
        route.shadow?.servedEnded()
        endRetry()
        guard let slot = slot.take() else { return dropLink() }
        route.gate.end(slot, returning: link.take(), on: loop, clock: route.services.clock)
    }

    private func endRetry() {
        guard isRetrying else { return }
        isRetrying = false
        route.endpoint.endRetry()
    }

    private func dropLink() {
        link?.close()
        link = nil
    }

    private func record(status: Int, isByPlatform: Bool) {
        guard !isStatusRecorded else { return }
        isStatusRecorded = true
        route.record(status: status, isByPlatform: isByPlatform, slot: slot, arrival: arrivedAt, now: now)
    }
}
