import Core

/// One request inside a container, and the container's behaviour.
///
/// `@unchecked Sendable`: confined to its world's thread, see `Schedule`.
final class Exchange: @unchecked Sendable {
    let id: RequestID
    let length: Int
    private let link: Link
    /// The request's body has arrived.
    var isComplete = false
    /// It left the container, with or without an answer.
    var isOver = false

    init(id: RequestID, length: Int, link: Link) {
        self.id = id
        self.length = length
        self.link = link
    }

    func behave(_ world: World) {
        let dice = world.dice
        let errs = !world.isCalm && dice.chance(world.scenario.containerErrs)
        let slowest = world.isCalm ? 0.5 : world.scenario.slowest
        let wait = dice.seconds(0.001...slowest)
        guard errs else { return after(wait, world) { self.answer(world) } }
        let name = world.ledger.name(id)
        switch dice.int(0...10) {
        case 0, 1:
            let status = dice.pick([500, 503, 404, 302, 201])
            after(wait, world) { [self] in
                world.history.count(.wrongStatus)
                world.history.note(link.pod.id, "\(name): answers \(status)")
                world.ledger.excuse(id, .containerStatus, status: status)
                finish("HTTP/1.1 \(status) Odd\r\nContent-Length: 4\r\n\r\nnope", world, isKept: dice.chance(0.5))
            }
        case 2:
            after(wait, world) { [self] in
                world.history.count(.wrongType)
                world.history.note(link.pod.id, "\(name): answers with text/plain")
                world.ledger.excuse(id, .containerNotJSONType)
                finish(head("text/plain", 4) + "null", world)
            }
        case 3:
            after(wait, world) { [self] in
                world.history.count(.badJSON)
                world.history.note(link.pod.id, "\(name): answers with bad JSON")
                world.ledger.excuse(id, .containerInvalidJSON)
                let text = dice.pick(["{\"a\":", "NaN", "{} {}", "", "[1,]"])
                finish(head("application/json", text.utf8.count) + text, world)
            }
        case 4:
            after(wait, world) { [self] in
                world.history.count(.malformed)
                world.history.note(link.pod.id, "\(name): answers with bytes that are not HTTP")
                world.ledger.excuse(id, .containerInvalidJSON)
                finish("SSH-2.0-OpenSSH_9.2\r\n\r\n", world, isKept: false)
            }
        case 5:
            after(wait, world) { [self] in
                world.history.count(.tooLarge)
                world.history.note(link.pod.id, "\(name): announces too large a result")
                world.ledger.excuse(id, .resultTooLarge)
                finish(head("application/json", 200_000) + "[", world, isKept: false)
            }
        case 6:
            after(wait, world) { self.link.hangUp() }
        case 7:
            after(wait, world) { [self] in
                link.send(head("application/json", 100) + "{\"half\":")
                after(dice.seconds(0...1), world) { self.link.hangUp() }
            }
        case 8:
            world.history.count(.neverAnswered)
            world.history.note(link.pod.id, "\(name): never answers")
        case 9:
            // A good answer in pieces, too late for many timeouts.
            after(dice.seconds(0...40), world) { [self] in
                guard let text = goodAnswer(world) else { return }
                let first = text.prefix(text.count / 2)
                link.send(String(first))
                after(dice.seconds(0...5), world) {
                    self.finish(String(text.dropFirst(first.count)), world, isGood: true)
                }
            }
        default:
            // A good answer, followed by unrequested bytes.
            after(wait, world) { [self] in
                guard let text = goodAnswer(world) else { return }
                finish(text + head("application/json", 6) + "\"evil\"", world, isGood: true)
            }
        }
    }

    private func answer(_ world: World) {
        guard let text = goodAnswer(world) else { return }
        finish(text, world, isKept: !world.dice.chance(0.1), isGood: true)
        // Some servers close a kept connection at any time.
        if world.dice.chance(0.1) {
            after(world.dice.seconds(0...1.2), world, whenOver: true) { [link] in
                if link.present == nil { link.hangUp() }
            }
        }
    }

    private var answerIndex: Int?

    /// The whole answer, with a result that names its delivery.
    private func goodAnswer(_ world: World) -> String? {
        let number = world.ledger.answers.count
        var text = "{\"request\":\"\(id)\",\"delivery\":\(number),\"number\":12345678901234567890.0}"
        if world.dice.chance(0.02) {
            world.history.count(.largeResult)
            text = "[\(text),\"\(String(repeating: "x", count: Limits.inlineBody))\"]"
        }
        answerIndex = number
        world.ledger.answers.append(
            .init(id: id, bytes: Array(text.utf8), startedAt: world.schedule.elapsed))
        world.history.note(link.pod.id, "\(world.ledger.name(id)): answers (delivery \(number))")
        return head("application/json", text.utf8.count) + text
    }

    /// Sends the last bytes; from then on the request is no longer inside.
    private func finish(_ text: String, _ world: World, isKept: Bool = true, isGood: Bool = false) {
        if isGood, let answerIndex { world.ledger.answers[answerIndex].isComplete = true }
        link.send(text)
        link.answered()
        if !isKept { link.hangUp() }
    }

    private func head(_ type: String, _ length: Int) -> String {
        "HTTP/1.1 200 OK\r\nContent-Type: \(type)\r\nContent-Length: \(length)\r\n\r\n"
    }

    private func after(
        _ duration: Duration, _ world: World, whenOver: Bool = false, _ action: @escaping () -> Void
    ) {
        world.schedule.after(duration) { [self] in
            if whenOver || !isOver { action() }
        }
    }
}
