import Core
import NIOCore
import NIOHTTP1
import Support

/// Refuses what the parser reads and does not show: chunks by the sizes that they declare, and bare line ends before a
/// request (contract R27).
///
/// Stands between the guard and the parser, and takes nothing from the parser but what it refuses itself.
final class FramingHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var framing = MessageFraming.requests
    private let guardian: ConnectionGuard

    init(_ guardian: ConnectionGuard) {
        self.guardian = guardian
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        let fault = bytes.withUnsafeReadableBytes { framing.fault(in: $0) }
        guard let fault else { return context.fireChannelRead(data) }
        // Once the channel was handed over the bytes are no requests.
        guard hasParser(context) else {
            framing = .nothing
            return context.fireChannelRead(data)
        }
        // The requests before it are served.
        if let before = bytes.readSlice(length: fault.offset), fault.offset > 0 {
            context.fireChannelRead(wrapInboundOut(before))
        }
        guardian.refuse(fault.fault.answer)
    }

    private func hasParser(_ context: ChannelHandlerContext) -> Bool {
        let name = ByteToMessageHandler<HTTPRequestDecoder>.self
        return (try? context.pipeline.syncOperations.context(handlerType: name)) != nil
    }
}

@available(*, unavailable)
extension FramingHandler: Sendable {}

extension MessageFraming.Fault {
    fileprivate var answer: HTTPFault {
        switch self {
        case .bareLineEnd, .digits: HTTPFault(PlatformError(.badRequest, reason))
        case .size: HTTPFault(PlatformError(.payloadTooLarge, reason))
        }
    }
}
