package verifiers;

import com.auth0.jwk.JwkProvider;
import com.auth0.jwk.JwkProviderBuilder;
import com.auth0.jwt.JWT;
import com.auth0.jwt.algorithms.Algorithm;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.source.JWKSourceBuilder;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.proc.SecurityContext;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import io.jsonwebtoken.Jwts;
import io.jsonwebtoken.ProtectedHeader;
import io.jsonwebtoken.security.Jwk;
import io.jsonwebtoken.security.JwkSet;
import io.jsonwebtoken.security.Jwks;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.security.Key;
import java.security.PublicKey;
import java.security.interfaces.ECPublicKey;
import java.security.interfaces.RSAPublicKey;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.jose4j.jwa.AlgorithmConstraints.ConstraintType;
import org.jose4j.jwk.HttpsJwks;
import org.jose4j.jwt.consumer.JwtConsumer;
import org.jose4j.jwt.consumer.JwtConsumerBuilder;
import org.jose4j.keys.resolvers.HttpsJwksVerificationKeyResolver;
import org.springframework.security.oauth2.core.DelegatingOAuth2TokenValidator;
import org.springframework.security.oauth2.jwt.JwtAudienceValidator;
import org.springframework.security.oauth2.jwt.JwtDecoders;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;
import verifiers.Main.Case;
import verifiers.Main.Verifier;

/** The libraries under test, each used as its manual says. */
final class Libraries {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Libraries() {}

    /** What Spring Boot makes of {@code issuer-uri}: the algorithms are those of the keys. */
    static Verifier springOfIssuer(Case asked) {
        return spring(JwtDecoders.<NimbusJwtDecoder>fromIssuerLocation(asked.issuer()), asked);
    }

    /** What Spring Boot makes of {@code jwk-set-uri}: RS256, unless {@code jws-algorithms} says otherwise. */
    static Verifier springOfKeySet(Case asked) throws IOException {
        return spring(NimbusJwtDecoder.withJwkSetUri(jwksUri(asked.issuer()).toString()).build(), asked);
    }

    private static Verifier spring(NimbusJwtDecoder decoder, Case asked) {
        decoder.setJwtValidator(new DelegatingOAuth2TokenValidator<>(
            JwtValidators.createDefaultWithIssuer(asked.issuer()), new JwtAudienceValidator(asked.audience())));
        return token -> {
            Map<String, Object> claims = new HashMap<>(decoder.decode(token).getClaims());
            claims.values().removeIf(java.time.Instant.class::isInstance);
            return claims;
        };
    }

    static Verifier nimbus(Case asked) throws IOException {
        var processor = new DefaultJWTProcessor<SecurityContext>();
        var keys = JWKSourceBuilder.create(jwksUri(asked.issuer())).build();
        processor.setJWSKeySelector(new JWSVerificationKeySelector<>(JWSAlgorithm.parse(asked.algorithm()), keys));
        processor.setJWTClaimsSetVerifier(new DefaultJWTClaimsVerifier<>(
            asked.audience(), new JWTClaimsSet.Builder().issuer(asked.issuer()).build(), Set.of("exp")));
        return token -> processor.process(token, null).toJSONObject();
    }

    /** It has a parser for key sets and leaves it to its caller to fetch one. */
    static Verifier jjwt(Case asked) throws IOException {
        String text;
        try (InputStream stream = jwksUri(asked.issuer()).openStream()) {
            text = new String(stream.readAllBytes(), StandardCharsets.UTF_8);
        }
        JwkSet keys = Jwks.setParser().build().parse(text);
        var parser = Jwts.parser()
            .keyLocator(header -> header instanceof ProtectedHeader named ? named(keys, named.getKeyId()) : null)
            .requireIssuer(asked.issuer())
            .requireAudience(asked.audience())
            .build();
        return token -> parser.parseSignedClaims(token).getPayload();
    }

    private static Key named(JwkSet keys, String kid) {
        for (Jwk<?> key : keys.getKeys()) {
            if (key.getId().equals(kid)) {
                return key.toKey();
            }
        }
        return null;
    }

    /** java-jwt with the keys of jwks-rsa. It wants to be told which algorithm a key is for. */
    static Verifier javaJwt(Case asked) throws IOException {
        JwkProvider keys = new JwkProviderBuilder(jwksUri(asked.issuer())).build();
        return token -> {
            PublicKey key = keys.get(JWT.decode(token).getKeyId()).getPublicKey();
            var verified = JWT.require(algorithm(asked.algorithm(), key))
                .withIssuer(asked.issuer())
                .withAudience(asked.audience())
                .build()
                .verify(token);
            return JSON.readerForMapOf(Object.class).readValue(Base64.getUrlDecoder().decode(verified.getPayload()));
        };
    }

    private static Algorithm algorithm(String name, PublicKey key) {
        return switch (name) {
            case "RS256" -> Algorithm.RSA256((RSAPublicKey) key, null);
            case "RS384" -> Algorithm.RSA384((RSAPublicKey) key, null);
            case "RS512" -> Algorithm.RSA512((RSAPublicKey) key, null);
            case "ES256" -> Algorithm.ECDSA256((ECPublicKey) key, null);
            case "ES384" -> Algorithm.ECDSA384((ECPublicKey) key, null);
            case "ES512" -> Algorithm.ECDSA512((ECPublicKey) key, null);
            default -> throw new UnsupportedOperationException("com.auth0.jwt.algorithms.Algorithm has nothing for it");
        };
    }

    static Verifier jose4j(Case asked) throws IOException {
        var keys = new HttpsJwks(jwksUri(asked.issuer()).toString());
        JwtConsumer consumer = new JwtConsumerBuilder()
            .setVerificationKeyResolver(new HttpsJwksVerificationKeyResolver(keys))
            .setJwsAlgorithmConstraints(ConstraintType.PERMIT, asked.algorithm())
            .setExpectedIssuer(asked.issuer())
            .setExpectedAudience(asked.audience())
            .setRequireExpirationTime()
            .build();
        return token -> consumer.processToClaims(token).getClaimsMap();
    }

    /** OpenID Connect Discovery 1.0 §4: the document must be for the issuer that was asked. */
    private static URL jwksUri(String issuer) throws IOException {
        JsonNode document = JSON.readTree(URI.create(issuer + "/.well-known/openid-configuration").toURL());
        if (!document.path("issuer").asText().equals(issuer)) {
            throw new IOException("discovery is for " + document.path("issuer").asText());
        }
        return URI.create(document.path("jwks_uri").asText()).toURL();
    }
}
