// node-oidc-provider as an authority for client_credentials: access tokens for a resource are JWTs, signed with the key it is given.
// Everything else as it comes, in memory. Configured by the environment (harness/peers.py).
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { exportJWK, importPKCS8 } from "jose";
import Provider from "oidc-provider";

const { PORT, ISSUER, AUDIENCE, CLIENT_ID, CLIENT_SECRET, PRIVATE_KEY } = process.env;
const key = await exportJWK(await importPKCS8(readFileSync(PRIVATE_KEY, "utf8"), "RS256", { extractable: true }));
const provider = new Provider(ISSUER, {
  clients: [
    { client_id: CLIENT_ID, client_secret: CLIENT_SECRET, grant_types: ["client_credentials"], redirect_uris: [], response_types: [], scope: "read" },
  ],
  jwks: { keys: [{ ...key, alg: "RS256", use: "sig", kid: "bench" }] },
  routes: { jwks: "/.well-known/jwks.json" },
  scopes: ["read"],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        audience: AUDIENCE, scope: "read", accessTokenTTL: 600, accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});
createServer(provider.callback()).listen(Number(PORT), "127.0.0.1");
