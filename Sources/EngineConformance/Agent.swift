import Core
import Foundation
import TestSupport
import Testing

/// A tiny server that runs Python inside a container: what is posted to it is executed, and what it sets as `result`
/// comes back as JSON.
enum Agent {
    static let source = """
        import http.server, json, sys
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_POST(self):
                scope = {}
                try:
                    exec(self.rfile.read(int(self.headers["content-length"])).decode(), scope)
                    reply = scope.get("result")
                except BaseException as error:
                    reply = "error: " + repr(error)
                body = json.dumps(reply).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def log_message(self, *arguments):
                pass
        http.server.ThreadingHTTPServer.request_queue_size = 128
        http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
        """

    /// Runs Python in the pod; waits for the agent to listen first.
    static func run(_ python: String, in pod: String, of engine: any Engine, port: Int = 8080) async throws -> JSON {
        let connector = engine.connector(pod: pod)
        let descriptor = try await connected(connector, port)
        let body = try await HTTPWire.post(python, over: descriptor)
        return try JSONDecoder().decode(JSON.self, from: Data(body.utf8))
    }

    /// A connection, once something listens.
    static func connected(_ connector: any Connector, _ port: Int) async throws -> CInt {
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: .seconds(30))
        while true {
            do {
                return try await connector.connect(port: port)
            } catch let error as PlatformError where error.code == .connectionFailed && clock.now < deadline {
                try await clock.sleep(for: .milliseconds(20))
            }
        }
    }
}

/// What an agent answers.
enum JSON: Decodable, Equatable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByArrayLiteral {
    case string(String)
    case number(Int)
    case bool(Bool)
    case list([JSON])
    case null

    init(stringLiteral value: String) { self = .string(value) }
    init(integerLiteral value: Int) { self = .number(value) }
    init(arrayLiteral elements: JSON...) { self = .list(elements) }

    /// The strings of a list.
    var strings: [String] {
        guard case .list(let values) = self else { return [] }
        return values.compactMap { if case .string(let text) = $0 { text } else { nil } }
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else {
            self = .list(try container.decode([JSON].self))
        }
    }
}
