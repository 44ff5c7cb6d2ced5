/// Decides whether a container provably saw nothing of a request on a kept connection (contract A11, R15). Pure; one
/// value per connection.
struct UnseenProof {
    /// The bytes that the system counted as acknowledged before the first request of this connection object; `nil`
    /// where it does not count.
    private let acknowledgedAtStart: Int64?
    /// Whether requests were answered on the connection before this object had it.
    private let wasUsedBefore: Bool
    /// Bytes of earlier requests.
    private var bytesBefore: Int64 = 0
    /// Whether an earlier request was answered on this connection.
    private(set) var isReused = false
    /// Whether the whole head of the present request was written to the socket. Before that the container cannot have
    /// acted on the request.
    var isHeadWritten = false
    private var isClosedUnseen = false

    init(acknowledgedAtStart: Int64?, wasUsedBefore: Bool = false) {
        self.acknowledgedAtStart = acknowledgedAtStart
        self.wasUsedBefore = wasUsedBefore
    }

    /// A request begins.
    ///
    /// - Parameter bytesWritten: bytes of earlier requests.
    mutating func begin(bytesWritten: Int64) {
        isHeadWritten = false
        isClosedUnseen = false
        isReused = wasUsedBefore || bytesWritten > 0
        bytesBefore = bytesWritten
    }

    /// The container closed its sending side. The socket is still open, so the system can be asked about its bytes.
    ///
    /// - Returns: whether the answer may be another one a little later: no byte of the request is acknowledged yet, nor
    ///   rejected.
    @discardableResult
    mutating func inputClosed(hasReceived: Bool, acknowledgement: @autoclosure () -> Acknowledgement?) -> Bool {
        guard isReused, !hasReceived, let acknowledgedAtStart, let acknowledgement = acknowledgement() else {
            return false
        }
        // Earlier requests were answered, so all their bytes were acknowledged. If the count says otherwise, the system
        // does not count, and nothing is proved.
        guard acknowledgement.bytes - acknowledgedAtStart == bytesBefore else { return false }
        isClosedUnseen = acknowledgement.isRejected
        return !acknowledgement.isRejected
    }

    /// Whether the container provably saw nothing of the present request: either its head was not written completely,
    /// or the container had closed the connection, its system acknowledged no byte of the request and rejected it, and
    /// no byte of an answer arrived.
    var isUnseen: Bool { isReused && (!isHeadWritten || isClosedUnseen) }
}
