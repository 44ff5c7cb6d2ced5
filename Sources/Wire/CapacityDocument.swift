package import Core

/// What the machine has for replicas and what they have reserved of it, in `GET /info`.
package struct CapacityDocument: Sendable, Hashable, Codable {
    package var total: Amount
    /// What the replicas that are there declare, those that are ending included.
    package var used: Amount

    package init(_ capacity: Capacity) {
        self.total = Amount(capacity.total)
        self.used = Amount(capacity.reserved)
    }

    package struct Amount: Sendable, Hashable, Codable {
        /// Thousandths of a core.
        package var cpuMilli: Int64
        /// Bytes.
        package var memBytes: Int64
        package var gpu: Int64

        init(_ amount: ComputeAmount) {
            self.cpuMilli = amount.cpu
            self.memBytes = amount.memory
            self.gpu = amount.gpu
        }

        enum CodingKeys: String, CodingKey {
            case gpu
            case cpuMilli = "cpu_milli"
            case memBytes = "mem_bytes"
        }
    }
}
