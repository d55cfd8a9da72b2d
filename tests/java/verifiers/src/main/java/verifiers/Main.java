package verifiers;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/**
 * Verifies tokens with six ways to use five libraries, each as its manual says. Every line of standard input is a
 * case, every line of standard output its verdict; the program lives until its input ends.
 *
 * <p>Keys come from discovery over HTTP and from nowhere else. Every case reads them anew, unless it names a verifier
 * to keep: all cases of that name share one, which goes on with the keys that it has read as it does in a server.
 */
public final class Main {
    /** A case, as tests/interop/judges.py writes it. */
    record Case(String library, String issuer, String audience, String algorithm, String kept, String token) {}

    /** Gives the claims of a good token. */
    interface Verifier {
        Map<String, Object> verify(String token) throws Exception;
    }

    /** Makes a verifier for what a case expects. */
    interface Library {
        Verifier verifier(Case asked) throws Exception;
    }

    private static final Map<String, Library> LIBRARIES = Map.of(
        "Spring Security (issuer)", Libraries::springOfIssuer,
        "Spring Security (JWK Set)", Libraries::springOfKeySet,
        "Nimbus", Libraries::nimbus,
        "jjwt", Libraries::jjwt,
        "java-jwt", Libraries::javaJwt,
        "jose4j", Libraries::jose4j);

    private static final ObjectMapper JSON =
        new ObjectMapper().configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, true);

    private final Map<String, Verifier> kept = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        var main = new Main();
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            answers.println(JSON.writeValueAsString(main.verdict(JSON.readValue(line, Case.class))));
        }
    }

    private Map<String, Object> verdict(Case asked) {
        try {
            return Map.of("claims", verifier(asked).verify(asked.token()));
        } catch (Exception why) {
            return Map.of("error", why.getClass().getSimpleName() + ": " + why.getMessage());
        }
    }

    private Verifier verifier(Case asked) throws Exception {
        Library library = LIBRARIES.get(asked.library());
        if (library == null) {
            throw new Error("no library " + asked.library());
        }
        if (asked.kept() == null) {
            return library.verifier(asked);
        }
        String name = asked.library() + " " + asked.kept();
        if (!kept.containsKey(name)) {
            kept.put(name, library.verifier(asked));
        }
        return kept.get(name);
    }
}
