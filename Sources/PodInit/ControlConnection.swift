import CLinux
import Glibc
import PodInitProtocol

/// One conversation with the platform: requests come in, each is answered before the next is read.
final class ControlConnection {
    private struct Output {
        let bytes: [UInt8]
        var sent = 0
        /// Goes out with the first byte, then is closed here.
        var passed: CInt
    }

    /// How much may wait for a subscriber that does not read.
    private static let backlog = 256

    private let loop: Loop
    private let handle: (ControlConnection, [String]) -> Void
    private let onClose: (ControlConnection) -> Void
    private var watch: Loop.Watch?
    private let descriptor: CInt
    private var decoder = FrameDecoder()
    private var outputs: [Output] = []
    private var isBusy = false
    private var isHandling = false
    private var isSubscribed = false
    private var isClosed = false
    /// What to undo when the platform hangs up before the answer.
    var onDrop: (() -> Void)?

    init(
        loop: Loop, descriptor: CInt, handle: @escaping (ControlConnection, [String]) -> Void,
        onClose: @escaping (ControlConnection) -> Void
    ) {
        self.loop = loop
        self.descriptor = descriptor
        self.handle = handle
        self.onClose = onClose
        self.watch = loop.watch(descriptor, for: .read) { readiness in self.ready(readiness) }
    }

    /// Answers the request that is being worked on. `passed` is closed here, whatever happens.
    func ok(_ fields: [String] = [], passing passed: CInt = -1) {
        answer([Answer.ok.rawValue] + fields, passing: passed)
    }

    func refuse(_ failure: Failure) {
        answer([Answer.error.rawValue, failure.refusal.rawValue, failure.message], passing: -1)
    }

    /// Turns the conversation into a subscription: it gets events and sends nothing more.
    func subscribe() {
        isSubscribed = true
        ok()
    }

    /// Sends a hint to a subscriber. One that does not read is dropped: it asks for the state when it returns.
    func event(_ name: String) {
        guard outputs.count < Self.backlog else { return close() }
        enqueue([Answer.event.rawValue, name], passing: -1)
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        if let watch { loop.forget(watch) }
        watch = nil
        Glibc.close(descriptor)
        for output in outputs where output.passed >= 0 { Glibc.close(output.passed) }
        outputs = []
        let drop = onDrop
        onDrop = nil
        drop?()
        onClose(self)
    }

    private func answer(_ fields: [String], passing passed: CInt) {
        guard !isClosed else {
            if passed >= 0 { Glibc.close(passed) }
            return
        }
        onDrop = nil
        isBusy = false
        enqueue(fields, passing: passed)
        // The loop in `work` continues instead: a thousand requests in one packet must not nest a thousand calls.
        if !isHandling { work() }
    }

    private func ready(_ readiness: Readiness) {
        if readiness.contains(.write) { flush() }
        if readiness.contains(.read) {
            receive()
        } else if readiness.contains(.hangup) {
            close()
        }
    }

    private func receive() {
        guard !isClosed, !isBusy else { return }
        var unwanted: CInt = -1
        let count = cx_receive(descriptor, loop.scratch.baseAddress, loop.scratch.count, &unwanted)
        if unwanted >= 0 { Glibc.close(unwanted) }
        if count == -Int(EAGAIN) { return }
        guard count > 0, !isSubscribed else { return close() }
        decoder.append(UnsafeRawBufferPointer(rebasing: loop.scratch[..<count]))
        work()
    }

    private func work() {
        isHandling = true
        defer {
            isHandling = false
            update()
        }
        while !isClosed, !isBusy, outputs.isEmpty {
            do {
                guard let request = try decoder.next() else { return }
                isBusy = true
                handle(self, request)
            } catch {
                return close()
            }
        }
    }

    private func enqueue(_ fields: [String], passing passed: CInt) {
        outputs.append(Output(bytes: Frame.encode(fields), passed: passed))
        flush()
    }

    private func flush() {
        while !isClosed, var output = outputs.first {
            let result = output.bytes.withUnsafeBytes {
                cx_send(descriptor, $0.baseAddress?.advanced(by: output.sent), $0.count - output.sent, output.passed)
            }
            if result == -Int(EAGAIN) { break }
            guard result > 0 else { return close() }
            if output.passed >= 0 { Glibc.close(output.passed) }
            output.passed = -1
            output.sent += result
            outputs[0] = output
            if output.sent == output.bytes.count { outputs.removeFirst() }
        }
        guard !isClosed, !isHandling else { return }
        if outputs.isEmpty, !isBusy { work() } else { update() }
    }

    /// While a request is worked on or an answer waits, nothing is read; a hang-up is still seen.
    private func update() {
        guard let watch else { return }
        var interest: Readiness = []
        if !isBusy, outputs.isEmpty { interest.insert(.read) }
        if !outputs.isEmpty { interest.insert(.write) }
        loop.change(watch, to: interest)
    }
}
