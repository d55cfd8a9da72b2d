package countersign;

import com.nimbusds.jose.util.JSONObjectUtils;
import jakarta.servlet.Filter;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.nio.file.Files;
import java.util.Map;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.config.annotation.web.configuration.EnableWebSecurity;
import org.springframework.security.oauth2.core.DelegatingOAuth2TokenValidator;
import org.springframework.security.oauth2.core.OAuth2TokenValidator;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.security.oauth2.jwt.JwtClaimValidator;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;
import org.springframework.security.oauth2.server.resource.introspection.SpringOpaqueTokenIntrospector;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.web.context.support.AnnotationConfigWebApplicationContext;

/**
 * A resource server on Tomcat, guarded by Spring Security: access tokens are checked by RFC 9068 at /jwt
 * ({@code createAtJwtValidator}), the issuer is asked about them at /opaque (RFC 7662), and /plain takes what
 * Spring takes by default.
 *
 * <p>Settings come as one line of JSON on standard input; it ends when that does.
 */
public final class ResourceServer {
    private static Map<String, Object> settings;

    private static String of(String name) {
        return (String) settings.get(name);
    }

    @Configuration
    @EnableWebSecurity
    static class Security {
        @Bean
        SecurityFilterChain jwt(HttpSecurity http) throws Exception {
            var validator = JwtValidators.createAtJwtValidator()
                    .audience(of("audience")).clientId(of("caller")).issuer(of("issuer")).build();
            return guarded(http, "/jwt", validator, true);
        }

        @Bean
        SecurityFilterChain plain(HttpSecurity http) throws Exception {
            var audience = new JwtClaimValidator<java.util.List<String>>(
                    "aud", all -> all != null && all.contains(of("audience")));
            var validator = new DelegatingOAuth2TokenValidator<Jwt>(
                    JwtValidators.createDefaultWithIssuer(of("issuer")), audience);
            return guarded(http, "/plain", validator, false);
        }

        @Bean
        SecurityFilterChain opaque(HttpSecurity http) throws Exception {
            var introspector = SpringOpaqueTokenIntrospector.withIntrospectionUri(of("issuer") + "/introspect")
                    .clientId(of("client")).clientSecret(of("secret")).build();
            return http.securityMatcher("/opaque")
                    .authorizeHttpRequests(requests -> requests.anyRequest().hasAuthority("SCOPE_read"))
                    .oauth2ResourceServer(server -> server.opaqueToken(token -> token.introspector(introspector)))
                    .build();
        }

        private static SecurityFilterChain guarded(
                HttpSecurity http, String path, OAuth2TokenValidator<Jwt> validator, boolean accessTokens)
                throws Exception {
            var builder = NimbusJwtDecoder.withIssuerLocation(of("issuer")).jwsAlgorithm(SignatureAlgorithm.ES256);
            // The validator looks at the type; without this, Nimbus refuses at+jwt before it comes to that.
            var decoder = accessTokens ? builder.validateType(false).build() : builder.build();
            decoder.setJwtValidator(validator);
            return http.securityMatcher(path)
                    .authorizeHttpRequests(requests -> requests.anyRequest().hasAuthority("SCOPE_read"))
                    .oauth2ResourceServer(server -> server.jwt(token -> token.decoder(decoder)))
                    .build();
        }
    }

    /** What is guarded. */
    static class Api extends HttpServlet {
        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            response.setContentType("application/json");
            response.getWriter().print("{\"sub\":\"" + request.getUserPrincipal().getName() + "\"}");
        }
    }

    public static void main(String[] arguments) throws Exception {
        var input = new BufferedReader(new InputStreamReader(System.in));
        settings = JSONObjectUtils.parse(input.readLine());

        var tomcat = new Tomcat();
        tomcat.setBaseDir(Files.createTempDirectory("resource-server").toString());
        tomcat.setPort(0);
        tomcat.getConnector().setProperty("address", InetAddress.getLoopbackAddress().getHostAddress());
        var context = tomcat.addContext("", null);
        Tomcat.addServlet(context, "api", new Api());
        context.addServletMappingDecoded("/*", "api");

        var beans = new AnnotationConfigWebApplicationContext();
        beans.register(Security.class);
        beans.setServletContext(context.getServletContext());
        beans.refresh();
        var filter = new FilterDef();
        filter.setFilterName("security");
        filter.setFilter((Filter) beans.getBean("springSecurityFilterChain"));
        context.addFilterDef(filter);
        var everywhere = new FilterMap();
        everywhere.setFilterName("security");
        everywhere.addURLPattern("/*");
        context.addFilterMap(everywhere);

        tomcat.start();
        System.out.println("{\"url\":\"http://127.0.0.1:" + tomcat.getConnector().getLocalPort() + "\"}");
        while (input.read() >= 0) {}
        tomcat.stop();
        tomcat.destroy();
    }
}
