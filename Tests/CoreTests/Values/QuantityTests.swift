import Core
import Foundation
import Testing

@Suite("C12: quantities")
struct QuantityTests {
    @Test(
        "C12: thousandths, rounded up",
        arguments: [
            ("0", 0), ("1", 1000), ("200m", 200), ("0.5", 500), (".5", 500), ("1.", 1000), ("+2", 2000),
            ("1.5k", 1_500_000),
            ("2M", 2_000_000_000), ("1G", 1_000_000_000_000), ("1T", 1_000_000_000_000_000), ("1Ki", 1_024_000),
            ("1.5Mi", 1_572_864_000), ("20Mi", 20_971_520_000), ("1Gi", 1_073_741_824_000),
            ("1Ti", 1_099_511_627_776_000), ("1e3", 1_000_000), ("1E3", 1_000_000), ("12e-1", 1200), ("1.0001", 1001),
            ("0.1m", 1), ("100u", 1), ("100000u", 100), ("1n", 1),
        ] as [(String, Int64)])
    func values(_ text: String, _ milli: Int64) {
        #expect(Quantity(text)?.milli == milli)
        #expect(Quantity(text)?.text == text)
    }

    @Test(
        "C12: what is no quantity",
        arguments: [
            "", " ", "-1", "m", "Mi", "1 Mi", "1MB", "1mi", "1K", "1KI", "0x10", "1e", "1e99", "1.2.3", "1,5", "１",
            "99999999999999999999", "9223372036854775807", "NaN", "inf", ".", "+", "1Ei", "1m5", "10E",
        ])
    func noQuantities(_ text: String) {
        #expect(Quantity(text) == nil)
    }

    @Test("C12: whole numbers are rounded up")
    func whole() {
        #expect(Quantity("1001m")?.whole == 2)
        #expect(Quantity("1000m")?.whole == 1)
        #expect(Quantity("64Mi")?.whole == 67_108_864)
    }

    @Test("C12: stored as written, and refused when damaged")
    func codable() throws {
        let data = try JSONEncoder().encode([Quantity("1.50Gi")])
        #expect(String(decoding: data, as: UTF8.self) == #"["1.50Gi"]"#)
        #expect(try JSONDecoder().decode([Quantity].self, from: data).first?.text == "1.50Gi")
        #expect(throws: DecodingError.self) { try JSONDecoder().decode([Quantity].self, from: Data(#"["x"]"#.utf8)) }
    }
}
