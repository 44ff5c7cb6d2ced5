// The caller of Java's HttpClient, which offers Upgrade: h2c. Prints the status, a line feed and the body.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class Caller {
    public static void main(String[] arguments) throws Exception {
        byte[] body = System.in.readAllBytes();
        var publisher = body.length == 0
            ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofByteArray(body);
        var builder = HttpRequest.newBuilder(URI.create(arguments[1])).method(arguments[0], publisher);
        for (int at = 2; at + 1 < arguments.length; at += 2) builder.header(arguments[at], arguments[at + 1]);
        var client = HttpClient.newHttpClient();
        client.send(builder.build(), HttpResponse.BodyHandlers.ofByteArray());
        var response = client.send(builder.build(), HttpResponse.BodyHandlers.ofByteArray());
        System.out.write((response.statusCode() + "\n").getBytes());
        System.out.write(response.body());
        System.out.flush();
    }
}
