// The container of Node: the same answers as asgi.py.
const http = require("http");

const server = http.createServer((request, response) => {
  const path = request.url.split("?")[0];
  if (path.endsWith("/events")) {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    let number = 0;
    const timer = setInterval(() => {
      response.write(`data: ${number++}\n\n`);
      if (number === 5) { clearInterval(timer); response.end(); }
    }, 100);
    return;
  }
  if (path.endsWith("/echo")) {
    response.writeHead(200, { "Content-Type": "application/octet-stream" });
    request.pipe(response);
    return;
  }
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const headers = [];
    for (let at = 0; at < request.rawHeaders.length; at += 2)
      headers.push([request.rawHeaders[at].toLowerCase(), request.rawHeaders[at + 1]]);
    const data = Buffer.from(JSON.stringify({
      method: request.method, target: request.url, headers, body: Buffer.concat(pieces).toString("latin1") }));
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": data.length, "X-Own": "1" });
    response.end(data);
  });
});
server.keepAliveTimeout = 1000;
server.listen(Number(process.env.CORTEX_PORT || 8080), "0.0.0.0");
process.on("SIGTERM", () => process.exit(0));
